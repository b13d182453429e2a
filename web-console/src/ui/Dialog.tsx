/** A small dialog in the middle of the page. */

import { Modal } from "@mantine/core";
import { type ReactNode, useEffect } from "react";
import { holdRefresh } from "../api/queries";
import { useWords } from "../i18n/i18n";
import "./SidePanel.css";

export function Dialog({
  title,
  size,
  onClose,
  children,
}: {
  title: string;
  size: number;
  onClose: () => void;
  children: ReactNode;
}) {
  const { t } = useWords();
  useEffect(holdRefresh, []);
  return (
    <Modal.Root opened onClose={onClose} size={size} centered>
      <Modal.Overlay backgroundOpacity={0.35} />
      <Modal.Content radius="md">
        {/* No header element: a page has one banner, and it is not the dialog's. */}
        <div className="panel-header">
          <Modal.Title className="panel-title">{title}</Modal.Title>
          <Modal.CloseButton aria-label={t.action.close} />
        </div>
        <Modal.Body className="dialog-body">{children}</Modal.Body>
      </Modal.Content>
    </Modal.Root>
  );
}
