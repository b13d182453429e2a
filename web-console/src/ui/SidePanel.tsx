/** A form beside the page it belongs to. It has an address of its own; closing it goes back to the page's. */

import { Drawer } from "@mantine/core";
import { type ReactNode, useEffect } from "react";
import { holdRefresh } from "../api/queries";
import { useWords } from "../i18n/i18n";
import "./SidePanel.css";

export function SidePanel({
  title,
  onClose,
  children,
  footer,
}: {
  title: string;
  onClose: () => void;
  children: ReactNode;
  footer?: ReactNode;
}) {
  const { t } = useWords();
  useEffect(holdRefresh, []);
  return (
    <Drawer.Root opened onClose={onClose} position="right" size={540}>
      <Drawer.Overlay backgroundOpacity={0.25} />
      <Drawer.Content className="panel">
        {/* No header element: a page has one banner, and it is not the dialog's. */}
        <div className="panel-header">
          <Drawer.Title className="panel-title">{title}</Drawer.Title>
          <Drawer.CloseButton aria-label={t.action.close} />
        </div>
        <Drawer.Body className="panel-body">
          <div className="panel-content">{children}</div>
          {footer !== undefined && <div className="panel-footer">{footer}</div>}
        </Drawer.Body>
      </Drawer.Content>
    </Drawer.Root>
  );
}
