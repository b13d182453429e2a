/** Starts the console: the policy's nonce, the theme, the words, the cache, the pages. */

import "./styles";
import { localStorageColorSchemeManager, MantineProvider, mergeThemeOverrides } from "@mantine/core";
import { Notifications } from "@mantine/notifications";
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { RouterProvider } from "@tanstack/react-router";
import { setNonce } from "get-nonce";
import { StrictMode, useMemo } from "react";
import { createRoot } from "react-dom/client";
import { retry } from "./api/queries";
import { useWords, WordsProvider } from "./i18n/i18n";
import { makeRouter } from "./routes";
import { theme } from "./theme";

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
      <Notifications position="bottom-right" autoClose={4000} />
      <RouterProvider router={router} />
    </MantineProvider>
  );
}

const container = document.getElementById("root");
if (container === null) throw new Error("index.html has no #root");
createRoot(container).render(
  <StrictMode>
    <QueryClientProvider client={queryClient}>
      <WordsProvider>
        <Themed />
      </WordsProvider>
    </QueryClientProvider>
  </StrictMode>,
);
