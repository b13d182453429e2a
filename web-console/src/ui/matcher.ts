/** A part of a name; `*` stands for anything. */
export function matcher(text: string | undefined): (name: string) => boolean {
  if (text === undefined || text === "") return () => true;
  const parts = text.toLowerCase().split("*");
  return (name) => {
    let from = 0;
    const lower = name.toLowerCase();
    for (const part of parts) {
      const at = lower.indexOf(part, from);
      if (at < 0) return false;
      from = at + part.length;
    }
    return true;
  };
}
