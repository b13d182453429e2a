/** The language of the page: one typed catalogue per language, chosen by preference. */

import { createContext, type ReactNode, useContext, useEffect, useMemo, useState } from "react";
import { type Language, usePrefs } from "../prefs";
import { en } from "./en";
import { type Format, makeFormat } from "./format";

export type Catalogue = typeof en;

interface Words {
  t: Catalogue;
  format: Format;
  zone: string;
  language: Language;
}

/** English is always there: it says what the others must say. The rest comes when it is asked for. */
const catalogues: Partial<Record<Language, Catalogue>> = { en };

export async function loadWords(language: Language): Promise<Catalogue> {
  const catalogue = catalogues[language] ?? (await import("./zh")).zh;
  catalogues[language] = catalogue;
  return catalogue;
}

const Context = createContext<Words>({ t: en, format: makeFormat("en", "UTC"), zone: "UTC", language: "en" });

export function WordsProvider({ children }: { children: ReactNode }) {
  const { language, timeZone } = usePrefs();
  // What is shown: the chosen language once its words are here.
  const [shown, setShown] = useState(() => (catalogues[language] ? language : "en"));
  useEffect(() => {
    let wanted = true;
    loadWords(language).then(
      () => wanted && setShown(language),
      // Offline, say: the page goes on in the language it has.
      () => {},
    );
    return () => {
      wanted = false;
    };
  }, [language]);
  const words = useMemo(
    () => ({ t: catalogues[shown] ?? en, format: makeFormat(shown, timeZone), zone: timeZone, language: shown }),
    [shown, timeZone],
  );
  useEffect(() => {
    document.documentElement.lang = shown === "zh" ? "zh-CN" : "en";
  }, [shown]);
  return <Context value={words}>{children}</Context>;
}

export function useWords(): Words {
  return useContext(Context);
}
