/** The words of the panels about deliveries, in the language of the page. */

import { delivery } from "../i18n/delivery";
import { useWords } from "../i18n/i18n";

export function useDeliveryWords() {
  const words = useWords();
  return { ...words, d: delivery[words.language] };
}
