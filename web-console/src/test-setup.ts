/** What the browser has and the test's document lacks. */

import { cleanup, configure } from "@testing-library/react";
import { afterEach } from "vitest";

Object.defineProperty(window, "matchMedia", {
  value: (media: string) => ({
    media,
    matches: false,
    addEventListener() {},
    removeEventListener() {},
    addListener() {},
    removeListener() {},
    dispatchEvent: () => false,
  }),
});
// What a test looks for comes at once, unless the machine is busy: a second was not always enough.
configure({ asyncUtilTimeout: 20_000 });
globalThis.ResizeObserver ??= class {
  observe() {}
  unobserve() {}
  disconnect() {}
};
Object.defineProperty(document, "fonts", { value: new EventTarget() });
window.scrollTo = () => {};

afterEach(() => {
  cleanup();
  localStorage.clear();
});
