/** A message's body as bytes, text, JSON or hex. Everything here returns plain strings and values, never markup. */

import type { Message } from "../api/types";

export function bytesOfBase64(text: string): Uint8Array {
  const binary = atob(text);
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}

export function base64OfBytes(bytes: Uint8Array): string {
  const chunks: string[] = [];
  for (let at = 0; at < bytes.length; at += 0x8000) {
    chunks.push(String.fromCharCode(...bytes.subarray(at, at + 0x8000)));
  }
  return btoa(chunks.join(""));
}

/** `undefined` when the bytes are no UTF-8. */
export function textOf(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

export type Parsed = { ok: true; value: unknown } | { ok: false; reason: string };

export function parseJson(text: string): Parsed {
  try {
    return { ok: true, value: JSON.parse(text) };
  } catch (cause) {
    return { ok: false, reason: cause instanceof Error ? cause.message : String(cause) };
  }
}

/** Numbers that a browser cannot hold exactly: the tree would show another value than was sent. */
export function hasUnsafeNumbers(text: string): boolean {
  const outside = text.replace(/"(?:[^"\\]|\\.)*"/g, '""');
  return (outside.match(/-?\d{16,}(?![\d.eE])/g) ?? []).some((digits) => !Number.isSafeInteger(Number(digits)));
}

const previewCharacters = 240;

/** One line for a list: text without its line breaks, or the first bytes. */
export function preview({ body, bodyEncoding }: Message): { text: string; binary: boolean } {
  if (body === undefined || body === null) return { text: "", binary: false };
  if (bodyEncoding === "base64" && typeof body === "string") {
    const head = bytesOfBase64(body.slice(0, 32));
    return { text: [...head].map(hex2).join(" "), binary: true };
  }
  const text = typeof body === "string" ? body : JSON.stringify(body);
  return {
    text: text
      .slice(0, previewCharacters * 4)
      .replace(/\s+/g, " ")
      .slice(0, previewCharacters),
    binary: false,
  };
}

const hex2 = (byte: number) => byte.toString(16).padStart(2, "0");

export interface HexLine {
  offset: string;
  hex: string;
  ascii: string;
}

export function hexLines(bytes: Uint8Array, width = 16): HexLine[] {
  const lines: HexLine[] = [];
  for (let at = 0; at < bytes.length; at += width) {
    const row = [...bytes.subarray(at, at + width)];
    const cells = row.map(hex2);
    const [left, right] = [cells.slice(0, width / 2), cells.slice(width / 2)];
    const hex = `${left.join(" ").padEnd((width / 2) * 3 - 1)}  ${right.join(" ")}`;
    const ascii = row.map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : "·")).join("");
    lines.push({ offset: at.toString(16).padStart(8, "0"), hex: hex.padEnd(width * 3), ascii });
  }
  return lines;
}
