export function CreateGroup() { return null; }
