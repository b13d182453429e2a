/** The last level of confirmation: the effect in real figures, then the name typed by hand. Enter never confirms. */

import { Button, TextInput } from "@mantine/core";
import { type ReactNode, useState } from "react";
import { useWords } from "../i18n/i18n";
import { Dialog } from "./Dialog";
import { Failure } from "./states";
import "./TypedConfirm.css";

export function TypedConfirm({
  title,
  name,
  action,
  busy,
  error,
  ready,
  onConfirm,
  onClose,
  children,
}: {
  title: string;
  name: string;
  action: string;
  busy: boolean;
  error: unknown;
  /** False until the effect is on the screen. */
  ready: boolean;
  onConfirm: () => void;
  onClose: () => void;
  children: ReactNode;
}) {
  const { t } = useWords();
  const [typed, setTyped] = useState("");
  return (
    <Dialog title={title} onClose={onClose} size={500}>
      <div className="confirm">
        {children}
        <TextInput
          label={t.confirm.typeName(name)}
          value={typed}
          onChange={(event) => setTyped(event.currentTarget.value)}
          autoComplete="off"
          spellCheck={false}
          classNames={{ input: "mono" }}
        />
        {error ? <Failure error={error} /> : null}
        <div className="confirm-buttons">
          <Button variant="default" onClick={onClose} data-autofocus>
            {t.action.cancel}
          </Button>
          <Button color="red" onClick={onConfirm} disabled={!ready || typed !== name} loading={busy}>
            {action}
          </Button>
        </div>
      </div>
    </Dialog>
  );
}
