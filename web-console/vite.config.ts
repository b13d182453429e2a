import react from "@vitejs/plugin-react";
import type { Plugin } from "vite";
import { defineConfig } from "vitest/config";

/** Where a running server listens, for `npm run dev`. */
const server = process.env.GANTRY_URL ?? "http://127.0.0.1:8080";
const apiPaths = ["/v1", "/healthz", "/readyz", "/version", "/metrics", "/openapi.json", "/docs"];

/** The gateway fills these per response; the development server has no policy to satisfy. */
const placeholders: Plugin = {
  name: "gantry-placeholders",
  apply: "serve",
  transformIndexHtml: {
    order: "pre",
    handler: (html) => html.replaceAll("__CSP_NONCE__", "").replaceAll("__BASE_PATH__", "/"),
  },
};

export default defineConfig({
  plugins: [react(), placeholders],
  // Relative, so that the base path stays the server's to choose.
  base: "./",
  build: {
    target: "es2022",
    // Data URLs would need their own place in the content policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 700,
  },
  server: { proxy: Object.fromEntries(apiPaths.map((path) => [path, server])) },
  test: {
    environment: "happy-dom",
    include: ["src/**/*.test.{ts,tsx}"],
    setupFiles: ["src/test-setup.ts"],
    testTimeout: 60_000,
  },
});
