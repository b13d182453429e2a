/** When a message in flight may be delivered again: the time that is left, ticking. */

import { useNow } from "../ui/now";
import { useDeliveryWords } from "./words";

export function Until({
  at,
  cameBack = false,
  over,
}: {
  at: string | number;
  cameBack?: boolean;
  /** Said once the time is over; of a message in flight, that it came back. */
  over?: string;
}) {
  const { d, format } = useDeliveryWords();
  const now = useNow();
  const left = new Date(at).getTime() - now;
  return (
    <time dateTime={new Date(at).toISOString()} title={format.instantZoned(at)}>
      {cameBack || left <= 0
        ? (over ?? d.inFlight.cameBack)
        : d.inFlight.inTime(format.duration(Math.ceil(left / 1000) * 1000))}
    </time>
  );
}
