/** Names and bodies that somebody will try. Tests feed them to whatever takes text. */
export const hostile = [
  "<img src=x onerror=alert(1)>",
  '"><script>alert(1)</script>',
  "%DLQ%group",
  "%RETRY%a|b",
  "a/b/../c",
  "what?#now&then=1",
  "50%",
  "%2e%2e%2f",
  "\u202Eright to left",
  "x".repeat(255),
  "标签 with spaces",
  "new",
  "'; rm -rf ~; '",
  "line\nbreak",
  "__proto__",
];
