/** The language of the page: one typed catalogue per language, chosen by preference. */

import { createContext, type ReactNode, useContext, useEffect, useMemo } from "react";
import { usePrefs } from "../prefs";
import { en } from "./en";
import { type Format, makeFormat } from "./format";
import { zh } from "./zh";

export type Catalogue = typeof en;

interface Words {
  t: Catalogue;
  format: Format;
  zone: string;
}

const catalogues = { en, zh };

const Context = createContext<Words>({ t: en, format: makeFormat("en", "UTC"), zone: "UTC" });

export function WordsProvider({ children }: { children: ReactNode }) {
  const { language, timeZone } = usePrefs();
  const words = useMemo(
    () => ({ t: catalogues[language], format: makeFormat(language, timeZone), zone: timeZone }),
    [language, timeZone],
  );
  useEffect(() => {
    document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  }, [language]);
  return <Context value={words}>{children}</Context>;
}

export function useWords(): Words {
  return useContext(Context);
}
