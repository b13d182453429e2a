/** One table for every list: sorted by its headers, windowed when long, walked with the arrow keys. */

import {
  type ColumnDef,
  createSortedRowModel,
  rowSortingFeature,
  type SortingState,
  tableFeatures,
  useTable,
} from "@tanstack/react-table";
import { useWindowVirtualizer } from "@tanstack/react-virtual";
import { type KeyboardEvent, type ReactNode, useLayoutEffect, useMemo, useRef, useState } from "react";
import { useWords } from "../i18n/i18n";
import { Icon } from "./icons";
import "./DataTable.css";

export interface Column<T> {
  id: string;
  header: string;
  /** The header is for screen readers alone. */
  hidden?: boolean;
  /** What the column sorts by; without it the column does not sort. Unknown sorts last, whichever way. */
  sortBy?: (row: T) => string | number | null | undefined;
  cell: (row: T) => ReactNode;
  align?: "left" | "right";
  /** Below 700 px only the columns that say so are shown. */
  narrow?: boolean;
  /** The column that takes what room is left. */
  grow?: boolean;
  width?: number;
}

export interface Sort {
  by: string;
  desc: boolean;
}

/** `name` or `-name`, as it stands in an address. */
export function parseSort(text: string | undefined): Sort | undefined {
  if (text === undefined || text === "" || text === "-") return undefined;
  return text.startsWith("-") ? { by: text.slice(1), desc: true } : { by: text, desc: false };
}

export function writeSort(sort: Sort | undefined): string | undefined {
  return sort === undefined ? undefined : `${sort.desc ? "-" : ""}${sort.by}`;
}

const features = tableFeatures({ rowSortingFeature, sortedRowModel: createSortedRowModel() });
type Features = typeof features;

const rowHeight = 36;
/** Fewer rows than this are simply drawn. */
const windowedFrom = 120;

const collator = new Intl.Collator(undefined, { numeric: true });

export function compareKnown(a: unknown, b: unknown): number {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return collator.compare(String(a), String(b));
}

export function DataTable<T extends object>({
  label,
  columns,
  rows,
  rowId,
  sort,
  onSort,
  rowClass,
}: {
  label: string;
  columns: readonly Column<T>[];
  rows: readonly T[];
  rowId: (row: T) => string;
  sort?: Sort;
  onSort?: (sort: Sort) => void;
  rowClass?: (row: T) => string | undefined;
}) {
  const { t } = useWords();
  const byId = useMemo(() => new Map(columns.map((column) => [column.id, column])), [columns]);
  const definitions = useMemo(
    () =>
      columns.map(
        (column): ColumnDef<Features, T, unknown> => ({
          id: column.id,
          accessorFn: (row: T) => column.sortBy?.(row) ?? undefined,
          enableSorting: column.sortBy !== undefined,
          sortUndefined: "last",
          sortFn: (a, b, id) => compareKnown(a.getValue(id), b.getValue(id)),
        }),
      ),
    [columns],
  );
  const sorting = useMemo<SortingState>(() => (sort === undefined ? [] : [{ id: sort.by, desc: sort.desc }]), [sort]);
  const data = useMemo(() => [...rows], [rows]);
  const table = useTable({ features, columns: definitions, data, getRowId: rowId, state: { sorting } });
  const sorted = table.getRowModel().rows;

  const body = useRef<HTMLTableSectionElement>(null);
  const [top, setTop] = useState(0);
  useLayoutEffect(() => {
    const box = body.current?.getBoundingClientRect();
    if (box !== undefined) setTop(box.top + window.scrollY);
  }, []);
  const windowed = sorted.length >= windowedFrom;
  const virtualizer = useWindowVirtualizer({
    count: windowed ? sorted.length : 0,
    estimateSize: () => rowHeight,
    overscan: 12,
    scrollMargin: top,
  });
  const items = virtualizer.getVirtualItems();
  const before = windowed ? (items[0]?.start ?? top) - top : 0;
  const after = windowed ? virtualizer.getTotalSize() - ((items.at(-1)?.end ?? top) - top) : 0;
  const shown = windowed
    ? items.flatMap(({ index }) => {
        const row = sorted[index];
        return row === undefined ? [] : [{ row, index }];
      })
    : sorted.map((row, index) => ({ row, index }));

  /** Arrows move between the rows' links; Enter follows one, as on any link. */
  const onKeyDown = (event: KeyboardEvent<HTMLTableSectionElement>) => {
    const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    const from = (event.target as HTMLElement).closest("tr");
    if (step === 0 || from === null) return;
    const to = step > 0 ? from.nextElementSibling : from.previousElementSibling;
    const link = to?.querySelector<HTMLElement>("a, button");
    if (link === null || link === undefined) return;
    event.preventDefault();
    link.focus();
    to?.scrollIntoView({ block: "nearest" });
  };

  const ariaSort = (id: string) => (sort?.by !== id ? undefined : sort.desc ? "descending" : "ascending");
  const classOf = (column: Column<T>) =>
    [column.align === "right" && "right", column.narrow !== true && "wide-only", column.grow && "grow"]
      .filter(Boolean)
      .join(" ") || undefined;

  return (
    <table className="table" aria-label={label} aria-rowcount={sorted.length + 1}>
      <thead>
        <tr>
          {columns.map((column) => (
            <th
              key={column.id}
              scope="col"
              aria-sort={ariaSort(column.id)}
              className={classOf(column)}
              style={column.width === undefined ? undefined : { width: column.width }}
            >
              {column.sortBy === undefined || onSort === undefined ? (
                <span className={column.hidden ? "visually-hidden" : undefined}>{column.header}</span>
              ) : (
                <button
                  type="button"
                  className="sort"
                  title={t.table.sortBy(column.header)}
                  onClick={() => onSort({ by: column.id, desc: sort?.by === column.id ? !sort.desc : false })}
                >
                  {column.header}
                  <span className="sort-mark" data-on={sort?.by === column.id || undefined}>
                    <Icon name={sort?.by === column.id && sort.desc ? "sortDown" : "sortUp"} size={12} />
                  </span>
                </button>
              )}
            </th>
          ))}
        </tr>
      </thead>
      <tbody ref={body} onKeyDown={onKeyDown}>
        {before > 0 && <Gap height={before} columns={columns.length} />}
        {shown.map(({ row, index }) => (
          <tr key={row.id} aria-rowindex={index + 2} className={rowClass?.(row.original)}>
            {row.getAllCells().map((cell) => {
              const column = byId.get(cell.column.id);
              return (
                column && (
                  <td key={cell.id} className={classOf(column)}>
                    {column.cell(row.original)}
                  </td>
                )
              );
            })}
          </tr>
        ))}
        {after > 0 && <Gap height={after} columns={columns.length} />}
      </tbody>
    </table>
  );
}

/** Room for the rows that are not drawn. */
function Gap({ height, columns }: { height: number; columns: number }) {
  return (
    <tr className="gap">
      <td colSpan={columns} style={{ height }} />
    </tr>
  );
}
