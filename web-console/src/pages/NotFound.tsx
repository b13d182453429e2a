/** An address that is no page: said plainly, with a way on. */

import { TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { groupsQuery, topicsQuery } from "../api/queries";
import { useWords } from "../i18n/i18n";
import { Icon } from "../ui/icons";
import { useTitle } from "../ui/Page";

const shownMax = 6;

export function NotFoundPage() {
  const { t } = useWords();
  const [query, setQuery] = useState("");
  const topics = useQuery({ ...topicsQuery(false), enabled: query !== "" }).data?.items ?? [];
  const groups = useQuery({ ...groupsQuery(), enabled: query !== "" }).data?.items ?? [];
  useTitle(t.notFound.title);
  const matches = ({ name }: { name: string }) => name.toLowerCase().includes(query.trim().toLowerCase());
  return (
    <div className="not-found">
      <p className="not-found-code">404</p>
      <h1>{t.notFound.title}</h1>
      <p>{t.notFound.why}</p>
      <TextInput
        type="search"
        aria-label={t.search.open}
        placeholder={t.search.placeholder}
        leftSection={<Icon name="search" size={14} />}
        value={query}
        onChange={(event) => setQuery(event.currentTarget.value)}
      />
      <ul>
        {query !== "" &&
          topics
            .filter(matches)
            .slice(0, shownMax)
            .map(({ name }) => (
              <li key={name}>
                <Link to="/topics/$topic" params={{ topic: name }}>
                  {name}
                </Link>{" "}
                <span className="hint">{t.search.topic}</span>
              </li>
            ))}
        {query !== "" &&
          groups
            .filter(matches)
            .slice(0, shownMax)
            .map(({ name }) => (
              <li key={name}>
                <Link to="/groups/$group" params={{ group: name }}>
                  {name}
                </Link>{" "}
                <span className="hint">{t.search.group}</span>
              </li>
            ))}
        <li>
          <Link to="/">{t.nav["/"]}</Link>
        </li>
      </ul>
    </div>
  );
}
