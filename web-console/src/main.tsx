/** Starts the console: the policy's nonce, the theme, the words, the cache, the pages. */

import "./styles";
import { localStorageColorSchemeManager, MantineProvider, mergeThemeOverrides } from "@mantine/core";
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { RouterProvider } from "@tanstack/react-router";
import { setNonce } from "get-nonce";
import { lazy, StrictMode, Suspense, useMemo } from "react";
import { createRoot } from "react-dom/client";
import { retry } from "./api/queries";
import { loadWords, useWords, WordsProvider } from "./i18n/i18n";
import { currentPrefs } from "./prefs";
import { makeRouter } from "./routes";
import { theme } from "./theme";
import { useToasts } from "./ui/toast";

const Toasts = lazy(() => import("./ui/Toasts").then((module) => ({ default: module.Toasts })));

const nonce = document.querySelector<HTMLMetaElement>("meta[name=csp-nonce]")?.content ?? "";
// The scroll lock behind dialogs adds a style of its own.
setNonce(nonce);

const queryClient = new QueryClient({
  defaultOptions: { queries: { retry, retryDelay: 800, staleTime: 2_000, refetchOnWindowFocus: true } },
});
const router = makeRouter();
const colorSchemeManager = localStorageColorSchemeManager({ key: "gantry.theme" });

function Themed() {
  const { t } = useWords();
  const toasts = useToasts();
  const named = useMemo(() => {
    const closeButtonProps = { "aria-label": t.action.close };
    return mergeThemeOverrides(theme, { components: { Notification: { defaultProps: { closeButtonProps } } } });
  }, [t]);
  return (
    <MantineProvider
      theme={named}
      defaultColorScheme="auto"
      colorSchemeManager={colorSchemeManager}
      getStyleNonce={() => nonce}
    >
      {toasts && (
        <Suspense fallback={null}>
          <Toasts />
        </Suspense>
      )}
      <RouterProvider router={router} />
    </MantineProvider>
  );
}

const container = document.getElementById("root");
if (container === null) throw new Error("index.html has no #root");
const show = () =>
  createRoot(container).render(
    <StrictMode>
      <QueryClientProvider client={queryClient}>
        <WordsProvider>
          <Themed />
        </WordsProvider>
      </QueryClientProvider>
    </StrictMode>,
  );
// Nobody shall see one language flash before the other; without its words the page is still a page.
loadWords(currentPrefs().language).then(show, show);
