/** Where toasts appear. Only for what went well: failures stay where the action was. */

import { Notifications, notifications } from "@mantine/notifications";

export function show(message: string) {
  notifications.show({ message });
}

export function Toasts() {
  return <Notifications position="bottom-right" autoClose={4000} />;
}
