/** The console's few pictures, drawn on a grid of 16 with one stroke width. All are decoration: names stand beside them. */

const shapes = {
  overview: "M2.5 9h3v4.5h-3zM6.5 5h3v8.5h-3zM10.5 2.5h3v11h-3z",
  topics: "M2.5 4.5h11M2.5 8h11M2.5 11.5h7",
  groups:
    "M6 7.5a2.3 2.3 0 1 0 0-4.6 2.3 2.3 0 0 0 0 4.6zM1.8 13.2c.2-2.5 1.9-3.9 4.2-3.9s4 1.4 4.2 3.9M10.6 3.2a2.2 2.2 0 0 1 0 4.1M11.8 9.6c1.5.5 2.3 1.8 2.4 3.6",
  settings:
    "M2.5 4.5h6M12 4.5h1.5M2.5 11.5h1.5M7.5 11.5h6M10.2 2.8a1.7 1.7 0 1 1 0 3.4 1.7 1.7 0 0 1 0-3.4zM5.8 9.8a1.7 1.7 0 1 1 0 3.4 1.7 1.7 0 0 1 0-3.4z",
  search: "M7 11.5a4.5 4.5 0 1 0 0-9 4.5 4.5 0 0 0 0 9zM10.3 10.3l3.4 3.4",
  plus: "M8 3v10M3 8h10",
  refresh: "M13.3 8A5.3 5.3 0 1 1 11.6 4.1M13.3 2.2v3h-3",
  pause: "M5.5 3.5v9M10.5 3.5v9",
  play: "M5 3.2l7.5 4.8L5 12.8z",
  sun: "M8 11a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM8 1.5v1.2M8 13.3v1.2M1.5 8h1.2M13.3 8h1.2M3.4 3.4l.9.9M11.7 11.7l.9.9M3.4 12.6l.9-.9M11.7 4.3l.9-.9",
  moon: "M13.2 9.6A5.6 5.6 0 0 1 6.4 2.8a5.6 5.6 0 1 0 6.8 6.8z",
  auto: "M8 13.5a5.5 5.5 0 1 0 0-11zM8 2.5a5.5 5.5 0 0 0 0 11",
  copy: "M5.5 5.5v-3h8v8h-3M2.5 5.5h8v8h-8z",
  check: "M3 8.5l3.3 3.3L13 4.6",
  warning: "M8 2.2l6.3 11.3H1.7zM8 6.5v3.2M8 11.6v.2",
  error: "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12zM8 4.8v4M8 11v.2",
  info: "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12zM8 7.4v4M8 4.9v.2",
  trash: "M2.5 4.2h11M6 4.2V2.5h4v1.7M4 4.2l.6 9.3h6.8l.6-9.3M6.7 7v4M9.3 7v4",
  send: "M13.8 2.2L2.2 6.6l4.6 2.6 2.6 4.6zM6.8 9.2l3-3",
  download: "M8 2.5v7.3M4.8 7L8 10.2 11.2 7M2.8 13.5h10.4",
  external: "M6.5 3.5h-4v10h10v-4M9 2.5h4.5V7M13.3 2.7L7.5 8.5",
  chevronRight: "M6 3.5L10.5 8 6 12.5",
  chevronDown: "M3.5 6L8 10.5 12.5 6",
  sidebar: "M2.5 3h11v10h-11zM6 3v10",
  menu: "M2.5 4h11M2.5 8h11M2.5 12h11",
  columns: "M2.5 3h11v10h-11zM6.2 3v10M9.8 3v10",
  terminal: "M2.5 3h11v10h-11zM5 6.2L6.8 8 5 9.8M8.5 10h2.8",
  language:
    "M2 4.2h6.5M5.2 2.6v1.6M3 10.2c2.2-1 3.7-3.1 4.1-6M3.6 6.4c.8 1.9 2.2 3.2 4 3.9M7.9 13.5l2.9-7 2.9 7M8.9 11.3h3.9",
  keyboard: "M1.8 4h12.4v8H1.8zM4.3 6.5h.2M6.8 6.5h.2M9.2 6.5h.2M11.6 6.5h.2M4.8 9.5h6.4",
  message: "M2.5 3.5h11v8h-6l-3 2.5v-2.5h-2z",
  close: "M3.8 3.8l8.4 8.4M12.2 3.8l-8.4 8.4",
  live: "M8 9.3a1.3 1.3 0 1 0 0-2.6 1.3 1.3 0 0 0 0 2.6zM5 11a4.2 4.2 0 0 1 0-6M11 5a4.2 4.2 0 0 1 0 6M3 13a7 7 0 0 1 0-10M13 3a7 7 0 0 1 0 10",
  sortUp: "M8 12.5v-9M4.5 7L8 3.5 11.5 7",
  sortDown: "M8 3.5v9M4.5 9L8 12.5 11.5 9",
  back: "M9.5 3.5L5 8l4.5 4.5",
} as const;

export type IconName = keyof typeof shapes;

export function Icon({ name, size = 16 }: { name: IconName; size?: number }) {
  return (
    <svg width={size} height={size} viewBox="0 0 16 16" aria-hidden="true" focusable="false" className="icon">
      <path
        d={shapes[name]}
        fill="none"
        stroke="currentColor"
        strokeWidth="1.4"
        strokeLinecap="round"
        strokeLinejoin="round"
      />
    </svg>
  );
}

export function Logo() {
  return (
    <svg width="24" height="24" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <rect width="24" height="24" rx="6" className="logo-ground" />
      <path
        d="M8 20V5h5M8 9h5M8 13h5M5 20h14M16 20v-9l-1.5-3L13 11v9"
        fill="none"
        stroke="#fff"
        strokeWidth="1.7"
        strokeLinecap="round"
        strokeLinejoin="round"
      />
    </svg>
  );
}
