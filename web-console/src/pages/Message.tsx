/** `/topics/{t}/messages/{id}`: what is in one message, and where it lies. */

import { Button, SegmentedControl, Tabs } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link, useNavigate } from "@tanstack/react-router";
import { type ReactNode, useMemo, useState } from "react";
import { asProblem } from "../api/problem";
import { messageQuery } from "../api/queries";
import type { Message } from "../api/types";
import { useWords } from "../i18n/i18n";
import { apiPaths, basePath, serverUrl } from "../paths";
import { type BodyView, bodyViews, type MessageTab, messageTabs } from "../search";
import { base64OfBytes, bytesOfBase64, hasUnsafeNumbers, hexLines, parseJson, textOf } from "../ui/body";
import { Icon } from "../ui/icons";
import { JsonTree } from "../ui/JsonTree";
import { PageHead, useTitle } from "../ui/Page";
import { Empty, Failure, Loading } from "../ui/states";
import { Copy, CurlButton, Hint, Instant } from "../ui/text";
import "./Message.css";

const route = getRouteApi("/topics/$topic/messages/$id");

export function MessagePage() {
  const { t, format } = useWords();
  const { topic, id } = route.useParams();
  const { tab = "body" } = route.useSearch();
  const navigate = useNavigate();
  // Bytes as they were stored: each view is made from them here.
  const query = useQuery(messageQuery(topic, id, "base64"));
  useTitle(`${t.message.title} ${id.slice(-8)}`, topic);

  const message = query.data;
  if (message === undefined) {
    if (query.error === null) return <Loading />;
    if (asProblem(query.error).status !== 404) {
      return <Failure error={query.error} onRetry={() => query.refetch()} />;
    }
    return (
      <Empty
        page
        icon="message"
        title={t.message.missing}
        action={
          <Link to="/topics/$topic" params={{ topic }}>
            {t.message.backTo(topic)}
          </Link>
        }
      >
        <p>{t.message.missingWhy}</p>
      </Empty>
    );
  }
  return (
    <>
      <PageHead
        title={t.message.title}
        beside={
          <>
            {typeof message.tag === "string" && (
              <span className="tag" title={message.tag}>
                {message.tag}
              </span>
            )}
            {message.keys?.map((key) => (
              <span key={key} className="tag" title={key}>
                {key}
              </span>
            ))}
          </>
        }
      >
        <CurlButton calls={[{ url: `${serverUrl()}${apiPaths.message(topic, id)}` }]} />
      </PageHead>
      <dl className="message-facts">
        <Fact name={t.message.id}>
          <span className="mono">{message.messageId}</span> <Copy value={message.messageId} />
        </Fact>
        <Fact name={t.message.stored}>
          <Instant at={message.storeTimestamp} />
        </Fact>
        {message.deliverAt != null && (
          <Fact name={t.message.deliverAt}>
            <Instant at={message.deliverAt} />
          </Fact>
        )}
        <Fact name={t.message.sent}>
          <Instant at={message.bornTimestamp} />
        </Fact>
        <Fact name={t.message.place}>
          <Link
            to="/topics/$topic"
            params={{ topic }}
            search={{
              start: "queue",
              queue: `${message.brokerName}/${message.queueId}`,
              offset: message.queueOffset,
            }}
          >
            {t.message.placeOf(message.brokerName, String(message.queueId), format.number(message.queueOffset))}
          </Link>
        </Fact>
        <Fact name={t.message.size}>{format.bytes(message.bodySize)}</Fact>
        {typeof message.messageGroup === "string" && <Fact name={t.message.group}>{message.messageGroup}</Fact>}
      </dl>
      <Tabs
        value={tab}
        onChange={(next) =>
          navigate({ to: ".", search: next === "body" ? {} : { tab: next as MessageTab }, replace: true })
        }
        keepMounted={false}
      >
        <Tabs.List mb={14}>
          {messageTabs.map((one) => (
            <Tabs.Tab key={one} value={one}>
              {t.message.tabs[one]}
            </Tabs.Tab>
          ))}
        </Tabs.List>
        <Tabs.Panel value="body">
          <Body message={message} />
        </Tabs.Panel>
        <Tabs.Panel value="properties">
          <Properties message={message} />
        </Tabs.Panel>
      </Tabs>
    </>
  );
}

function Fact({ name, children }: { name: string; children: ReactNode }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

/** More than this is not put on the screen unasked: a browser chokes on megabytes of text nodes. */
const shownBytesMax = 64 * 1024;

function Body({ message }: { message: Message }) {
  const { t, format } = useWords();
  const { view = "auto" } = route.useSearch();
  const navigate = useNavigate();
  const [whole, setWhole] = useState(false);
  const bytes = useMemo(() => bytesOf(message), [message]);
  const text = useMemo(() => textOf(bytes), [bytes]);
  const json = useMemo(() => (text === undefined ? undefined : parseJson(text)), [text]);
  const isTree = json?.ok === true && typeof json.value === "object" && json.value !== null;
  const actual: Exclude<BodyView, "auto"> =
    view !== "auto" ? view : isTree ? "json" : text === undefined ? "hex" : "text";
  const cut = !whole && bytes.length > shownBytesMax && actual !== "json";
  const shownBytes = cut ? bytes.subarray(0, shownBytesMax) : bytes;
  const rawUrl = `${basePath()}${apiPaths.messageBody(message.topic, message.messageId)}`;

  if (bytes.length === 0) return <Empty icon="message" title={t.message.empty} />;
  return (
    <>
      <div className="toolbar">
        <SegmentedControl
          aria-label={t.message.view}
          data={bodyViews.map((value) => ({ value, label: t.message.views[value] }))}
          value={view}
          onChange={(next) =>
            navigate({ to: ".", search: next === "auto" ? {} : { view: next as BodyView }, replace: true })
          }
        />
        <span className="count">
          {format.bytes(bytes.length)}
          {typeof message.contentType === "string" && ` · ${message.contentType}`}
        </span>
        <span className="end">
          <CopyBody text={text ?? base64OfBytes(bytes)} />
          <Button
            component="a"
            href={rawUrl}
            download={`${message.messageId}.bin`}
            variant="default"
            leftSection={<Icon name="download" size={14} />}
          >
            {t.message.downloadRaw}
          </Button>
        </span>
      </div>
      {message.bodyCompressed === true && <Hint>{t.message.compressed}</Hint>}
      <div className="body">
        {actual === "json" && <JsonView json={json} text={text} />}
        {actual === "text" && <TextView text={text === undefined ? undefined : cut ? cutText(shownBytes) : text} />}
        {actual === "hex" && <HexView bytes={shownBytes} />}
        {actual === "base64" && <pre className="raw">{base64OfBytes(shownBytes)}</pre>}
      </div>
      {cut && (
        <p className="cut">
          {t.message.cut(format.bytes(shownBytesMax), format.bytes(bytes.length))}
          <Button variant="default" size="compact-sm" onClick={() => setWhole(true)}>
            {t.message.loadAll}
          </Button>
        </p>
      )}
    </>
  );
}

function bytesOf({ body, bodyEncoding }: Message): Uint8Array {
  if (typeof body !== "string") return new Uint8Array();
  return bodyEncoding === "base64" ? bytesOfBase64(body) : new TextEncoder().encode(body);
}

/** The end may stand in the middle of a character. */
function cutText(bytes: Uint8Array): string {
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes, { stream: true });
}

function CopyBody({ text }: { text: string }) {
  const { t } = useWords();
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    await navigator.clipboard.writeText(text);
    setCopied(true);
    setTimeout(() => setCopied(false), 1200);
  };
  return (
    <Button variant="default" leftSection={<Icon name={copied ? "check" : "copy"} size={14} />} onClick={copy}>
      {copied ? t.action.copied : t.message.copyBody}
    </Button>
  );
}

function JsonView({ json, text }: { json: ReturnType<typeof parseJson> | undefined; text: string | undefined }) {
  const { t } = useWords();
  if (json === undefined || text === undefined) return <Hint>{t.message.notText}</Hint>;
  if (!json.ok) return <Hint>{t.message.notJson(json.reason)}</Hint>;
  return (
    <>
      {hasUnsafeNumbers(text) && (
        <p className="warning">
          <Icon name="warning" size={14} /> {t.message.unsafeNumbers}
        </p>
      )}
      <JsonTree value={json.value} />
    </>
  );
}

function TextView({ text }: { text: string | undefined }) {
  const { t } = useWords();
  if (text === undefined) return <Hint>{t.message.notText}</Hint>;
  return (
    <pre className="raw" dir="auto">
      {text}
    </pre>
  );
}

function HexView({ bytes }: { bytes: Uint8Array }) {
  const { t } = useWords();
  const lines = useMemo(() => hexLines(bytes), [bytes]);
  const column = (of: "offset" | "hex" | "ascii") => lines.map((line) => line[of]).join("\n");
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard
    <section className="hex" aria-label={t.message.views.hex} tabIndex={0}>
      <pre className="hex-offset">{column("offset")}</pre>
      <pre>{column("hex")}</pre>
      <pre className="hex-ascii">{column("ascii")}</pre>
    </section>
  );
}

function Properties({ message }: { message: Message }) {
  const { t } = useWords();
  const entries = Object.entries(message.properties);
  const isSystem = ([name]: [string, string]) => name in t.message.about;
  const user = entries.filter((entry) => !isSystem(entry));
  const system = entries.filter(isSystem);
  const fixed: [string, string][] = [
    [t.message.from, message.bornHost],
    [t.message.offsetId, message.offsetMessageId],
    [t.message.checksum, message.bodyCrc32.toString(16).padStart(8, "0")],
    ...(typeof message.traceparent !== "string"
      ? []
      : ([[t.message.trace, message.traceparent]] as [string, string][])),
  ];
  return (
    <>
      <section className="section">
        <h2>{t.message.user}</h2>
        {user.length === 0 ? (
          <Hint>{t.message.noProperties}</Hint>
        ) : (
          <PropertyTable label={t.message.user} rows={user} />
        )}
      </section>
      <section className="section">
        <h2>{t.message.system}</h2>
        <PropertyTable label={t.message.system} rows={[...system, ...fixed]} about={t.message.about} />
      </section>
    </>
  );
}

function PropertyTable({
  label,
  rows,
  about,
}: {
  label: string;
  rows: [string, string][];
  about?: Record<string, string>;
}) {
  const { t } = useWords();
  return (
    <table className="properties" aria-label={label}>
      <thead className="visually-hidden">
        <tr>
          <th scope="col">{t.message.property}</th>
          <th scope="col">{t.message.value}</th>
        </tr>
      </thead>
      <tbody>
        {rows.map(([name, value]) => (
          <tr key={name}>
            <th scope="row">
              <span className={about?.[name] === undefined && about !== undefined ? undefined : "mono"}>{name}</span>
              {about?.[name] !== undefined && <span className="property-about">{about[name]}</span>}
            </th>
            <td>
              <span className="property-value">
                <span className="mono" dir="auto">
                  {value}
                </span>
                <Copy value={value} />
              </span>
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
