/** `/settings`: what this browser prefers, and what it talks to. */

import { Button, SegmentedControl, Select, Switch, useMantineColorScheme } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { type ReactNode, useId, useMemo, useState } from "react";
import { clusterQuery, versionQuery } from "../api/queries";
import { zoneName } from "../i18n/format";
import { useWords } from "../i18n/i18n";
import { basePath } from "../paths";
import {
  type ClusterColour,
  clusterColours,
  isTimeZone,
  type Language,
  languages,
  type RefreshSeconds,
  refreshSeconds,
  setPrefs,
  usePrefs,
} from "../prefs";
import { KeyHelp } from "../ui/KeyHelp";
import { PageHead, useTitle } from "../ui/Page";
import { languageNames, schemes } from "../ui/Shell";
import { Hint, Unknown } from "../ui/text";
import "./Settings.css";

export function SettingsPage() {
  const { t } = useWords();
  const prefs = usePrefs();
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  const [keysShown, setKeysShown] = useState(false);
  useTitle(t.nav["/settings"]);
  const zones = useMemo(() => {
    const names = ["UTC", ...Intl.supportedValuesOf("timeZone").filter((name) => name !== "UTC")];
    return [
      { value: "", label: t.settings.browserZone(zoneName("")) },
      ...names.map((value) => ({ value, label: value })),
    ];
  }, [t]);

  return (
    <>
      <PageHead title={t.nav["/settings"]} />
      <div className="settings">
        <section>
          <h2>{t.settings.appearance}</h2>
          <Row name={t.settings.language}>
            <SegmentedControl
              aria-label={t.settings.language}
              data={languages.map((value) => ({ value, label: languageNames[value] }))}
              value={prefs.language}
              onChange={(language) => setPrefs({ language: language as Language })}
            />
          </Row>
          <Row name={t.settings.theme}>
            <SegmentedControl
              aria-label={t.settings.theme}
              data={schemes.map((value) => ({ value, label: t.settings.themes[value] }))}
              value={colorScheme}
              onChange={(scheme) => setColorScheme(scheme as typeof colorScheme)}
            />
          </Row>
          <Row name={t.settings.timeZone} hint={t.settings.timeZoneHint}>
            <Select
              aria-label={t.settings.timeZone}
              searchable
              data={zones}
              value={prefs.timeZone}
              onChange={(zone) => setPrefs({ timeZone: zone && isTimeZone(zone) ? zone : "" })}
              w={280}
              maxDropdownHeight={280}
            />
          </Row>
          <Row name={t.settings.cluster} hint={t.settings.clusterHint}>
            <Select
              aria-label={t.settings.cluster}
              data={clusterColours.map((value) => ({ value, label: t.settings.colours[value] }))}
              value={prefs.clusterColour}
              onChange={(colour) => setPrefs({ clusterColour: colour as ClusterColour })}
              w={160}
            />
          </Row>
        </section>
        <section>
          <h2>{t.settings.behaviour}</h2>
          <Row name={t.settings.refresh} hint={t.settings.refreshHint}>
            <SegmentedControl
              aria-label={t.settings.refresh}
              data={refreshSeconds.map((value) => ({ value: String(value), label: t.refresh.every(value) }))}
              value={String(prefs.refresh)}
              onChange={(refresh) => setPrefs({ refresh: Number(refresh) as RefreshSeconds })}
            />
          </Row>
          <Row name={t.settings.singleKeys} hint={t.settings.singleKeysHint}>
            <Switch
              aria-label={t.settings.singleKeys}
              checked={prefs.singleKeys}
              onChange={(event) => setPrefs({ singleKeys: event.currentTarget.checked })}
            />
            <Button variant="default" onClick={() => setKeysShown(true)}>
              {t.settings.showKeys}
            </Button>
          </Row>
        </section>
        <About />
        <Hint>{t.settings.storedHere}</Hint>
      </div>
      {keysShown && <KeyHelp onClose={() => setKeysShown(false)} />}
    </>
  );
}

function Row({ name, hint, children }: { name: string; hint?: string; children: ReactNode }) {
  const id = useId();
  return (
    // biome-ignore lint/a11y/useSemanticElements: a fieldset's legend cannot stand beside its fields
    <div className="setting" role="group" aria-labelledby={id}>
      <div>
        <p id={id}>{name}</p>
        {hint !== undefined && <Hint>{hint}</Hint>}
      </div>
      <div className="setting-control">{children}</div>
    </div>
  );
}

function About() {
  const { t } = useWords();
  const version = useQuery(versionQuery()).data;
  const brokers = useQuery(clusterQuery()).data?.brokers;
  return (
    <section>
      <h2>{t.settings.about}</h2>
      <dl className="facts about">
        <dt>{t.settings.server}</dt>
        <dd>{version === undefined ? <Unknown /> : `${version.name} ${version.version}`}</dd>
        <dt>{t.settings.brokers}</dt>
        <dd>
          {brokers === undefined ? (
            <Unknown />
          ) : (
            brokers.map(({ brokerName, version }) => `${brokerName} ${version}`).join(", ")
          )}
        </dd>
        <dt>{t.settings.api}</dt>
        <dd>
          <a href={`${basePath()}/docs`}>/docs</a> · <a href={`${basePath()}/openapi.json`}>/openapi.json</a>
        </dd>
      </dl>
    </section>
  );
}
