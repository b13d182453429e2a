/** Go anywhere by typing: pages, topics, groups, and a message by its id. */

import { Modal } from "@mantine/core";
import { Spotlight, spotlight } from "@mantine/spotlight";
import { useQuery } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useEffect, useMemo, useState } from "react";
import { groupsQuery, holdRefresh, topicsQuery } from "../api/queries";
import { findMessage } from "../api/resources";
import { useWords } from "../i18n/i18n";
import { Icon, type IconName } from "./icons";
import "@mantine/spotlight/styles.css";
import "./SearchBox.css";

const shownMax = 8;
/** The id of a place in the commit log: address, port, offset in hexadecimal. RocketMQ calls it the offset message id. */
const offsetMessageId = /^[0-9A-Fa-f]{32}([0-9A-Fa-f]{24})?$/;

interface Hit {
  id: string;
  icon: IconName;
  label: string;
  note: string;
  go: () => void;
}

export function SearchBox({ onClose }: { onClose: () => void }) {
  const { t } = useWords();
  const [query, setQuery] = useState("");
  useEffect(holdRefresh, []);
  // The library keeps the opened state; this component lives exactly as long as it is wanted.
  useEffect(() => {
    spotlight.open();
    return spotlight.close;
  }, []);
  return (
    <Spotlight.Root
      overlayProps={{ backgroundOpacity: 0.35, blur: 0 }}
      shortcut={null}
      centered={false}
      query={query}
      onQueryChange={setQuery}
      onSpotlightClose={onClose}
      radius="md"
      size={560}
      yOffset="12vh"
      scrollable
      maxHeight={420}
    >
      <Modal.Title className="visually-hidden">{t.search.open}</Modal.Title>
      <Spotlight.Search
        placeholder={t.search.placeholder}
        aria-label={t.search.open}
        leftSection={<Icon name="search" />}
      />
      <Hits query={query.trim()} />
    </Spotlight.Root>
  );
}

function Hits({ query }: { query: string }) {
  const { t } = useWords();
  const hits = useHits(query);
  return (
    <Spotlight.ActionsList>
      {hits.map(({ id, icon, label, note, go }) => (
        <Spotlight.Action key={id} onClick={go} className="hit">
          <Icon name={icon} />
          <span className="hit-label">{label}</span>
          <span className="hit-note">{note}</span>
        </Spotlight.Action>
      ))}
      {hits.length === 0 && <Spotlight.Empty>{t.search.nothing(query)}</Spotlight.Empty>}
    </Spotlight.ActionsList>
  );
}

function useHits(query: string): Hit[] {
  const { t } = useWords();
  const navigate = useNavigate();
  const topics = useQuery({ ...topicsQuery(false), staleTime: 5_000 }).data?.items;
  const groups = useQuery({ ...groupsQuery(), staleTime: 5_000 }).data?.items;
  const isId = offsetMessageId.test(query);
  const message = useQuery({
    queryKey: ["find", query],
    enabled: isId,
    retry: false,
    queryFn: ({ signal }) => findMessage(query, signal),
  }).data;
  return useMemo(() => {
    const wanted = query.toLowerCase();
    const matches = (name: string) => name.toLowerCase().includes(wanted);
    const page = (to: "/" | "/topics" | "/groups" | "/settings", icon: IconName): Hit => ({
      id: to,
      icon,
      label: t.nav[to],
      note: t.search.page,
      go: () => navigate({ to }),
    });
    const pages = [
      page("/", "overview"),
      page("/topics", "topics"),
      page("/groups", "groups"),
      page("/settings", "settings"),
    ];
    const hits: Hit[] = [];
    if (message !== undefined) {
      const { topic, messageId } = message;
      const go = () => navigate({ to: "/topics/$topic/messages/$id", params: { topic, id: messageId } });
      hits.push({ id: "message", icon: "message", label: messageId, note: t.search.messageIn(topic), go });
    }
    hits.push(...pages.filter(({ label }) => matches(label)));
    for (const { name } of (topics ?? []).filter(({ name }) => matches(name)).slice(0, shownMax)) {
      const go = () => navigate({ to: "/topics/$topic", params: { topic: name } });
      hits.push({ id: `topic ${name}`, icon: "topics", label: name, note: t.search.topic, go });
    }
    for (const { name } of (groups ?? []).filter(({ name }) => matches(name)).slice(0, shownMax)) {
      const go = () => navigate({ to: "/groups/$group", params: { group: name } });
      hits.push({ id: `group ${name}`, icon: "groups", label: name, note: t.search.group, go });
    }
    return hits;
  }, [query, topics, groups, message, navigate, t]);
}
