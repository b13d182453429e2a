/** Where the keyboard goes when a dialog ends that lives and dies with its route. */

import { useEffect, useState } from "react";

/** Gives the focus back to who opened the dialog; to the page, if that is gone. */
export function useFocusBack() {
  // As it is before the dialog takes the focus.
  const [opener] = useState(() => document.activeElement);
  useEffect(
    () => () => {
      // After the dialog has let go of it.
      requestAnimationFrame(() => {
        if (document.activeElement !== document.body && document.activeElement !== null) return;
        const back =
          opener instanceof HTMLElement && opener.isConnected && opener !== document.body ? opener : undefined;
        (back ?? document.getElementById("main"))?.focus({ preventScroll: true });
      });
    },
    [opener],
  );
}
