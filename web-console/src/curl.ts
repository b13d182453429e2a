/** The API call a page makes or is about to make, as a command for a POSIX shell. */

export interface Call {
  method?: "GET" | "PUT" | "PATCH" | "POST" | "DELETE";
  url: string;
  headers?: [name: string, value: string][];
  /** `data` goes out byte by byte; `json` brings its content type. */
  data?: string;
  json?: unknown;
}

/** Inside single quotes a shell reads everything as it stands, but for the quote itself. */
export function quote(text: string): string {
  if (/^[A-Za-z0-9_./:@%+=,-]+$/.test(text)) return text;
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

export function curl({ method = "GET", url, headers = [], data, json }: Call): string {
  const words = ["curl"];
  const hasBody = data !== undefined || json !== undefined;
  if (method !== "GET" && !(method === "POST" && hasBody)) words.push(`-X ${method}`);
  words.push(quote(url));
  const options = headers.map(([name, value]) => `-H ${quote(`${name}: ${value}`)}`);
  if (json !== undefined) options.push(`--json ${quote(JSON.stringify(json))}`);
  if (data !== undefined) options.push(`--data-binary ${quote(data)}`);
  const line = words.join(" ");
  return options.length === 0 ? line : [line, ...options].join(" \\\n  ");
}

/** A header's value for what a header cannot hold as it is: the gateway decodes it again. */
export function encodeProperty(text: string): string {
  return [...text]
    .map((character) => {
      const code = character.codePointAt(0) ?? 0;
      const plain = code > 0x20 && code < 0x7f && !"%,=".includes(character);
      return plain ? character : encodeURIComponent(character);
    })
    .join("");
}
