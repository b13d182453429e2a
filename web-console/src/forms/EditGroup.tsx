/** `/groups/{g}?edit=true`: a group's settings, its retry policy above all. What is saved is what was changed. */

import { Button, Checkbox, NumberInput, SegmentedControl, Textarea, TextInput } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { asProblem } from "../api/problem";
import { keys } from "../api/queries";
import type { Group, GroupPatch } from "../api/types";
import { curl } from "../curl";
import { editedGroupQuery, patchGroup } from "../delivery/calls";
import { durationMs, growth, splitSteps } from "../delivery/pauses";
import { useDeliveryWords } from "../delivery/words";
import { apiPaths, serverUrl } from "../paths";
import { SidePanel } from "../ui/SidePanel";
import { Area, Failure } from "../ui/states";
import { Code, Hint } from "../ui/text";
import { toast } from "../ui/toast";

const retryMost = 10_000;
const pausesShown = 8;
const policies = ["customized", "exponential"] as const;
const form = "edit-group";

export function EditGroup({ group, onClose }: { group: string; onClose: () => void }) {
  const { t, d } = useDeliveryWords();
  const client = useQueryClient();
  const edited = useQuery(editedGroupQuery(group));
  const [changes, setChanges] = useState<GroupPatch>({});
  const save = useMutation({
    mutationFn: () => patchGroup(group, edited.data?.etag ?? "*", changes),
    onSuccess: async () => {
      toast(d.settings.saved(group));
      onClose();
      await client.invalidateQueries({ queryKey: keys.group(group) });
      await client.invalidateQueries({ queryKey: keys.groups });
    },
    onError: (error) => {
      // Somebody else was faster: the form shows what it is now, and keeps what was typed.
      if (asProblem(error).status === 412) edited.refetch();
    },
  });
  const isChanged = Object.keys(changes).length > 0;
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (isChanged) save.mutate();
  };
  return (
    <SidePanel
      title={d.settings.editNamed(group)}
      onClose={onClose}
      footer={
        <div className="end">
          <Button variant="default" onClick={onClose}>
            {t.action.cancel}
          </Button>
          <Button type="submit" form={form} disabled={!isChanged} loading={save.isPending}>
            {d.settings.save}
          </Button>
        </div>
      }
    >
      <Area query={edited} rows={6}>
        {({ group: known, etag }) => (
          <form id={form} className="fields" onSubmit={submit} noValidate>
            <Fields key={etag} known={known} error={save.error} onChange={setChanges} />
            {save.error !== null && <Failure error={save.error} />}
            {save.error !== null && asProblem(save.error).status === 412 && <Hint>{d.settings.changed}</Hint>}
            <details className="call" open={isChanged}>
              <summary>{d.settings.changes}</summary>
              {isChanged ? (
                <Code
                  label={t.action.apiCall}
                  text={curl({
                    method: "PATCH",
                    url: `${serverUrl()}${apiPaths.group(group)}`,
                    headers: [["If-Match", etag]],
                    json: changes,
                  })}
                />
              ) : (
                <Hint>{d.settings.nothing}</Hint>
              )}
            </details>
          </form>
        )}
      </Area>
    </SidePanel>
  );
}

interface Typed {
  consumeEnabled: boolean;
  orderly: boolean;
  consumeTimeout: string;
  /** -1 is without end. */
  retryMaxTimes: number;
  policy: (typeof policies)[number];
  steps: string;
  initial: string;
  max: string;
  multiplier: number;
}

export function typedOf({ consumeEnabled, orderly, consumeTimeout, retryMaxTimes, retryPolicy }: Group): Typed {
  const steps = retryPolicy.type === "customized" ? retryPolicy.next.join(" ") : "1s 5s 10s 30s 1m 5m";
  const grows = retryPolicy.type === "exponential" ? retryPolicy : { initial: "1s", max: "1h", multiplier: 2 };
  const { initial, max, multiplier } = grows;
  return {
    consumeEnabled,
    orderly,
    consumeTimeout,
    retryMaxTimes,
    policy: retryPolicy.type,
    steps,
    initial,
    max,
    multiplier,
  };
}

function policyOf({ policy, steps, initial, max, multiplier }: Typed): Group["retryPolicy"] {
  return policy === "customized"
    ? { type: policy, next: splitSteps(steps) }
    : { type: policy, initial: initial.trim(), max: max.trim(), multiplier };
}

/** Only what differs: what somebody else changes meanwhile is not changed back. */
export function changesOf(known: Group, typed: Typed): GroupPatch {
  const same = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b);
  const policy = policyOf(typed);
  return {
    ...(typed.consumeEnabled === known.consumeEnabled ? {} : { consumeEnabled: typed.consumeEnabled }),
    ...(typed.orderly === known.orderly ? {} : { orderly: typed.orderly }),
    ...(typed.consumeTimeout.trim() === known.consumeTimeout ? {} : { consumeTimeout: typed.consumeTimeout.trim() }),
    ...(typed.retryMaxTimes === known.retryMaxTimes ? {} : { retryMaxTimes: typed.retryMaxTimes }),
    ...(same(policy, policyOf(typedOf(known))) && policy.type === known.retryPolicy.type
      ? {}
      : { retryPolicy: policy }),
  };
}

function Fields({ known, error, onChange }: { known: Group; error: unknown; onChange: (changes: GroupPatch) => void }) {
  const { d, format } = useDeliveryWords();
  const [typed, setTyped] = useState(() => typedOf(known));
  const problem = error === null ? undefined : asProblem(error);
  const change = (next: Partial<Typed>) => {
    const changed = { ...typed, ...next };
    setTyped(changed);
    onChange(changesOf(known, changed));
  };
  const endless = typed.retryMaxTimes < 0;
  const [initial, max] = [durationMs(typed.initial), durationMs(typed.max)];
  const pauses = initial === undefined || max === undefined ? [] : growth(initial, max, typed.multiplier, pausesShown);
  return (
    <>
      <Checkbox
        label={d.settings.consuming}
        checked={typed.consumeEnabled}
        onChange={(event) => change({ consumeEnabled: event.currentTarget.checked })}
        data-autofocus
      />
      <Checkbox
        label={d.settings.orderly}
        checked={typed.orderly}
        onChange={(event) => change({ orderly: event.currentTarget.checked })}
      />
      <NumberInput
        label={d.settings.retryMax}
        value={endless ? "" : typed.retryMaxTimes}
        disabled={endless}
        onChange={(value) => change({ retryMaxTimes: Math.max(0, Number(value) || 0) })}
        min={0}
        max={retryMost}
        allowDecimal={false}
        error={problem?.field("retryMaxTimes")}
      />
      <Checkbox
        label={d.settings.endless}
        checked={endless}
        onChange={(event) =>
          change({ retryMaxTimes: event.currentTarget.checked ? -1 : Math.max(16, known.retryMaxTimes) })
        }
      />
      <fieldset className="plain">
        <legend>{d.settings.policy}</legend>
        <SegmentedControl
          fullWidth
          aria-label={d.settings.policy}
          value={typed.policy}
          onChange={(value) => change({ policy: value as Typed["policy"] })}
          data={policies.map((value) => ({ value, label: d.settings.policies[value] }))}
        />
        {typed.policy === "customized" ? (
          <Textarea
            label={d.settings.steps}
            description={d.settings.stepsHint}
            value={typed.steps}
            onChange={(event) => change({ steps: event.currentTarget.value })}
            error={problem?.field("retryPolicy")}
            autosize
            spellCheck={false}
            classNames={{ input: "mono" }}
          />
        ) : (
          <>
            <div className="fields-row">
              <TextInput
                label={d.settings.initial}
                value={typed.initial}
                onChange={(event) => change({ initial: event.currentTarget.value })}
                error={problem?.field("initial")}
                autoComplete="off"
              />
              <NumberInput
                label={d.settings.multiplier}
                value={typed.multiplier}
                onChange={(value) => change({ multiplier: Number(value) || 1 })}
                min={1}
                max={100}
                decimalScale={2}
                step={0.5}
                error={problem?.field("multiplier")}
              />
              <TextInput
                label={d.settings.max}
                value={typed.max}
                onChange={(event) => change({ max: event.currentTarget.value })}
                error={problem?.field("max")}
                autoComplete="off"
              />
            </div>
            {pauses.length > 0 && (
              <Hint>{d.settings.growth(`${pauses.map((pause) => format.duration(pause)).join(", ")} …`)}</Hint>
            )}
          </>
        )}
        <Hint>{d.settings.policyHint}</Hint>
      </fieldset>
      <TextInput
        label={d.settings.consumeTimeout}
        description={d.settings.consumeTimeoutHint}
        value={typed.consumeTimeout}
        onChange={(event) => change({ consumeTimeout: event.currentTarget.value })}
        error={problem?.field("consumeTimeout")}
        autoComplete="off"
      />
    </>
  );
}
