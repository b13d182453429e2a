// Makes src/api/generated.ts out of openapi/gantry.v1.yaml; with --check says whether it is up to date.
import { readFileSync, writeFileSync } from "node:fs";
import openapiTS, { astToString } from "openapi-typescript";

const source = new URL("../../openapi/gantry.v1.yaml", import.meta.url);
const target = new URL("../src/api/generated.ts", import.meta.url);

const header = "// Generated from openapi/gantry.v1.yaml by `npm run types`: do not edit.\n\n";
const made = header + astToString(await openapiTS(source));
if (!process.argv.includes("--check")) {
  writeFileSync(target, made);
  console.log("wrote src/api/generated.ts");
} else if (readFileSync(target, "utf8") !== made) {
  console.error("src/api/generated.ts is not what openapi/gantry.v1.yaml says: run `npm run types`");
  process.exit(1);
} else {
  console.log("types are up to date");
}
