/** Colours and measures: Mantine's theme, set for dense pages that are looked at all day. */

import { createTheme, type MantineColorsTuple } from "@mantine/core";

const ink: MantineColorsTuple = [
  "#e6e9ef",
  "#c6ccd7",
  "#9fa8b7",
  "#76808f",
  "#3b424e",
  "#2b3039",
  "#1f232a",
  "#15181d",
  "#101317",
  "#0b0d10",
];

const slate: MantineColorsTuple = [
  "#f7f8fa",
  "#eff1f4",
  "#e4e7ec",
  "#d3d8e0",
  "#b4bcc8",
  "#8a94a3",
  "#5b6574",
  "#434b58",
  "#2b313b",
  "#1a1e25",
];

const field = { size: "xs" } as const;

/** Names of close buttons come from the catalogue: `withWords` in `main.tsx` adds them. */
export const theme = createTheme({
  primaryColor: "indigo",
  // Mantine's default shade has too little contrast with white.
  primaryShade: { light: 8, dark: 8 },
  colors: { dark: ink, gray: slate },
  black: "#1a1e25",
  defaultRadius: "sm",
  radius: { xs: "3px", sm: "5px", md: "8px", lg: "12px", xl: "20px" },
  fontFamily:
    '"Inter Variable", system-ui, "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", "Noto Sans SC", sans-serif',
  fontFamilyMonospace: 'ui-monospace, "SF Mono", "Cascadia Mono", Menlo, Consolas, "Liberation Mono", monospace',
  fontSizes: { xs: "0.8125rem", sm: "0.8125rem", md: "0.875rem", lg: "1rem", xl: "1.25rem" },
  lineHeights: { xs: "1.4", sm: "1.45", md: "1.5", lg: "1.5", xl: "1.4" },
  respectReducedMotion: true,
  cursorType: "pointer",
  components: {
    Button: { defaultProps: { ...field, fw: 550 } },
    TextInput: { defaultProps: field },
    NumberInput: { defaultProps: field },
    Select: { defaultProps: { ...field, allowDeselect: false, checkIconPosition: "right" } },
    Textarea: { defaultProps: field },
    Checkbox: { defaultProps: field },
    Switch: { defaultProps: field },
    SegmentedControl: { defaultProps: { ...field, withItemsBorders: false } },
    ActionIcon: { defaultProps: { variant: "subtle", color: "gray", size: 30 } },
    Tooltip: {
      defaultProps: {
        openDelay: 300,
        withArrow: true,
        arrowSize: 6,
        events: { hover: true, focus: true, touch: false },
      },
    },
    Menu: { defaultProps: { shadow: "md", position: "bottom-end" } },
    Modal: { defaultProps: { centered: true, transitionProps: { duration: 120 } } },
    Drawer: { defaultProps: { transitionProps: { duration: 120 } } },
  },
});
