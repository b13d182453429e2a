/** The rule for names of topics and consumer groups, so that a form can say it before the gateway has to. */

export const topicNameMax = 127;
export const groupNameMax = 120;

export type NameProblem = "empty" | "long" | "characters";

export function nameProblem(name: string, lengthMax: number): NameProblem | undefined {
  if (name === "") return "empty";
  // The percent sign belongs to the prefixes of retry and dead-letter topics, which the broker makes itself.
  if (!/^[|a-zA-Z0-9_-]+$/.test(name)) return "characters";
  return name.length > lengthMax ? "long" : undefined;
}
