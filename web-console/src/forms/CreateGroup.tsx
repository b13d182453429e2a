/** `/groups/new`: a form beside the list. */

import { Button, NumberInput, SegmentedControl, TextInput } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { type FormEvent, useState } from "react";
import { asProblem } from "../api/problem";
import { groupsQuery, keys } from "../api/queries";
import { createGroup } from "../api/resources";
import { curl } from "../curl";
import { useWords } from "../i18n/i18n";
import { groupNameMax, nameProblem } from "../names";
import { apiPaths, serverUrl } from "../paths";
import { useTitle } from "../ui/Page";
import { SidePanel } from "../ui/SidePanel";
import { Failure } from "../ui/states";
import { Code } from "../ui/text";

const retryDefault = 16;
const retryMost = 10_000;
const startFroms = ["min", "max"] as const;

export function CreateGroup() {
  const { t } = useWords();
  const navigate = useNavigate({ from: "/groups/new" });
  const client = useQueryClient();
  const taken = useQuery(groupsQuery()).data?.items;
  const [name, setName] = useState("");
  const [retryMaxTimes, setRetryMaxTimes] = useState(retryDefault);
  const [startFrom, setStartFrom] = useState<(typeof startFroms)[number]>("min");
  const [touched, setTouched] = useState(false);
  useTitle(t.group.create);

  const group = { retryMaxTimes, startFrom };
  const create = useMutation({
    mutationFn: () => createGroup(name, group),
    onSuccess: async () => {
      notifications.show({ message: t.group.created(name) });
      await client.invalidateQueries({ queryKey: keys.groups });
      navigate({ to: "/groups/$group", params: { group: name } });
    },
  });
  const wrong = nameProblem(name, groupNameMax);
  const nameError =
    taken?.some((other) => other.name === name) === true
      ? t.form.taken
      : wrong !== undefined && (name !== "" || touched)
        ? t.form.names[wrong](groupNameMax)
        : undefined;
  const problem = create.error === null ? undefined : asProblem(create.error);
  const close = () => navigate({ to: "/groups", search: true });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    setTouched(true);
    if (wrong === undefined && nameError === undefined) create.mutate();
  };
  return (
    <SidePanel
      title={t.group.create}
      onClose={close}
      footer={
        <div className="end">
          <Button variant="default" onClick={close}>
            {t.action.cancel}
          </Button>
          <Button type="submit" form="create-group" loading={create.isPending}>
            {t.group.create}
          </Button>
        </div>
      }
    >
      <form id="create-group" className="fields" onSubmit={submit} noValidate>
        <TextInput
          label={t.group.name}
          description={t.form.nameRule(groupNameMax)}
          value={name}
          onChange={(event) => setName(event.currentTarget.value)}
          onBlur={() => setTouched(name !== "")}
          error={nameError}
          autoComplete="off"
          spellCheck={false}
          data-autofocus
          required
        />
        <fieldset className="plain">
          <legend>{t.group.startFrom}</legend>
          <SegmentedControl
            fullWidth
            aria-label={t.group.startFrom}
            value={startFrom}
            onChange={(value) => setStartFrom(value as typeof startFrom)}
            data={startFroms.map((value) => ({ value, label: t.group.startFroms[value] }))}
          />
        </fieldset>
        <NumberInput
          label={t.group.retryMax}
          description={t.group.retryMaxHint}
          value={retryMaxTimes}
          onChange={(value) => setRetryMaxTimes(Number(value) || 1)}
          min={1}
          max={retryMost}
          allowDecimal={false}
          error={problem?.field("retryMaxTimes")}
        />
        {problem !== undefined && <Failure error={problem} />}
        <details className="call">
          <summary>{t.action.apiCall}</summary>
          <Code
            label={t.action.apiCall}
            text={curl({
              method: "PUT",
              url: `${serverUrl()}${apiPaths.group(name || "billing")}`,
              headers: [["If-None-Match", "*"]],
              json: group,
            })}
          />
        </details>
      </form>
    </SidePanel>
  );
}
