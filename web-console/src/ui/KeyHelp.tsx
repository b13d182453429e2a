/** `?`: which keys do what. */

import { Kbd } from "@mantine/core";
import { useWords } from "../i18n/i18n";
import { usePrefs } from "../prefs";
import { Dialog } from "./Dialog";

export function KeyHelp({ onClose }: { onClose: () => void }) {
  const { t } = useWords();
  const { singleKeys } = usePrefs();
  const keys: [string[], string][] = [
    [["Ctrl", "K"], t.keys.search],
    [["/"], t.keys.search],
    [["g", "o"], t.nav["/"]],
    [["g", "t"], t.nav["/topics"]],
    [["g", "g"], t.nav["/groups"]],
    [["g", "s"], t.nav["/settings"]],
    [["n"], t.keys.create],
    [["r"], t.refresh.now],
    [["p"], t.keys.pause],
    [["↑", "↓"], t.keys.rows],
    [["Esc"], t.keys.close],
    [["?"], t.keys.title],
  ];
  return (
    <Dialog title={t.keys.title} onClose={onClose} size={420}>
      {!singleKeys && <p className="hint">{t.keys.off}</p>}
      <dl className="key-list">
        {keys.map(([names, what]) => (
          <div key={names.join(" ")}>
            <dt>{what}</dt>
            <dd>
              {names.map((name) => (
                <Kbd key={name} size="xs">
                  {name}
                </Kbd>
              ))}
            </dd>
          </div>
        ))}
      </dl>
    </Dialog>
  );
}
