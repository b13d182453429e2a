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
    <Drawer
      opened
      onClose={onClose}
      position="right"
      size={540}
      title={title}
      closeButtonProps={{ "aria-label": t.action.close }}
      overlayProps={{ backgroundOpacity: 0.25 }}
      classNames={{ content: "panel", header: "panel-header", title: "panel-title", body: "panel-body" }}
    >
      <div className="panel-content">{children}</div>
      {footer !== undefined && <div className="panel-footer">{footer}</div>}
    </Drawer>
  );
}
