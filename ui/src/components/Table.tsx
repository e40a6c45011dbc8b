/** Tables: sortable, walked with j and k, rows chosen with x and ranges of them with shift, the next page on demand. */
import type { ComponentChildren } from "preact";
import { useMemo, useRef, useState } from "preact/hooks";
import { useKeys } from "../keys";
import { Button } from "./Button";
import { Icon } from "./Icon";
import { useSight } from "./windowing";

export interface Column<T> {
  /** Names the column in the URL and for `sort`. */
  key: string;
  title: string;
  show: (row: T) => ComponentChildren;
  /** What the column sorts by in the browser; without it it does not sort. Only for lists that are whole. */
  by?: (row: T) => number | string | null;
  isNumber?: boolean;
  /** From which width it is shown: "wide" leaves it out below 1100 px, "medium" below 700 px. */
  from?: "medium" | "wide";
  /** Takes what width is left, and is cut where it does not fit. */
  isElastic?: boolean;
  /** Does so on a phone, where the elastic column may not be shown. */
  isLead?: boolean;
}

export interface Sort {
  key: string;
  isDown: boolean;
}

interface Props<T> {
  /** What the table lists, for screen readers. */
  caption: string;
  columns: Column<T>[];
  rows: T[];
  rowKey: (row: T) => string;
  /** Where a row leads; Enter and a click anywhere on the row go there. Put a link in the first column as well. */
  open?: (row: T) => void;
  initial?: Sort;
  chosen?: Set<string>;
  onChoose?: (keys: Set<string>) => void;
  rowClass?: (row: T) => string;
  more?: (() => void) | null;
  isLoadingMore?: boolean;
  /** Height of every row, pixels: of a long table only those in sight are drawn. Without it all are. */
  rowHeight?: number;
  /** Below the rows: how many there are, what is left out. */
  foot?: ComponentChildren;
  /** In place of rows when there are none. */
  empty?: ComponentChildren;
  testid?: string;
}

function sorted<T>(rows: T[], columns: Column<T>[], sort: Sort | null): T[] {
  const by = sort && columns.find((column) => column.key === sort.key)?.by;
  if (!sort || !by) return rows;
  const sign = sort.isDown ? -1 : 1;
  return [...rows].sort((a, b) => {
    const [x, y] = [by(a), by(b)];
    if (x === y) return 0;
    if (x === null) return 1;
    if (y === null) return -1;
    return (typeof x === "string" && typeof y === "string" ? x.localeCompare(y) : x < y ? -1 : 1) * sign;
  });
}

export function Table<T>(props: Props<T>) {
  const { caption, columns, rowKey, open, chosen, onChoose, more, foot, empty } = props;
  const [sort, setSort] = useState<Sort | null>(props.initial ?? null);
  const rows = useMemo(() => sorted(props.rows, columns, sort), [props.rows, columns, sort]);

  const body = useRef<HTMLTableSectionElement>(null);
  const sight = useSight(rows.length, props.rowHeight ?? 0, body);
  const lastChosen = useRef(0);

  /** Flips a row; as a range, all from the one that was flipped last do as it does now. */
  const choose = (place: number, isRange: boolean) => {
    const row = rows[place];
    if (!onChoose || row === undefined) return;
    const next = new Set(chosen);
    const isOn = !next.has(rowKey(row));
    const [from, to] = isRange ? [lastChosen.current, place].sort((a, b) => a - b) : [place, place];
    for (const each of rows.slice(from, (to as number) + 1)) {
      if (isOn) next.add(rowKey(each));
      else next.delete(rowKey(each));
    }
    lastChosen.current = place;
    onChoose(next);
  };
  if (rows.length === 0 && empty) return <>{empty}</>;
  const allChosen = rows.length > 0 && rows.every((row) => chosen?.has(rowKey(row)));
  return (
    <>
      <div class="table-frame">
        <table
          class={props.rowHeight ? "table table-even" : "table"}
          data-testid={props.testid}
          aria-rowcount={rows.length + 1}
        >
          <caption class="unseen">{caption}</caption>
          <thead>
            <tr>
              {onChoose && (
                <th class="cell-choose" scope="col">
                  <input
                    type="checkbox"
                    aria-label="Choose all that are shown"
                    checked={allChosen}
                    onChange={() => onChoose(allChosen ? new Set() : new Set(rows.map(rowKey)))}
                  />
                </th>
              )}
              {columns.map((column) => (
                <Head key={column.key} column={column} sort={sort} onSort={setSort} />
              ))}
            </tr>
          </thead>
          <tbody ref={body}>
            <Gap rows={sight.from} height={sight.height} />
            {rows.slice(sight.from, sight.to).map((row, at) => {
              const key = rowKey(row);
              const place = sight.from + at;
              return (
                <Row
                  key={key}
                  row={row}
                  place={place}
                  height={props.rowHeight}
                  columns={columns}
                  open={open}
                  extra={props.rowClass?.(row) ?? ""}
                  choice={onChoose && { isOn: chosen?.has(key) ?? false, flip: (isRange) => choose(place, isRange) }}
                />
              );
            })}
            <Gap rows={rows.length - sight.to} height={sight.height} />
          </tbody>
        </table>
      </div>
      {(foot || more) && (
        <div class="table-foot">
          <span>{foot}</span>
          {more && (
            <Button onClick={more} disabled={props.isLoadingMore ?? false} icon="down">
              {props.isLoadingMore ? "Loading…" : "Load more"}
            </Button>
          )}
        </div>
      )}
    </>
  );
}

/** Stands for rows out of sight. */
export function Gap({ rows, height }: { rows: number; height: number }) {
  // biome-ignore lint/a11y/noAriaHiddenOnFocusable: a row without a tabindex takes no focus
  return rows > 0 ? <tr class="table-gap" aria-hidden="true" style={{ height: `${rows * height}px` }} /> : null;
}

/** j, k and x for all tables of the page: the next row, the one before, the choice of the row, with shift of a range. */
export function useRowKeys(): void {
  const rows = () => [...document.querySelectorAll<HTMLTableRowElement>("main .table tbody tr[data-row]")];
  const current = () => document.activeElement?.closest<HTMLTableRowElement>("main .table tbody tr[data-row]") ?? null;
  const choose = (shiftKey: boolean) => {
    const box = current()?.querySelector(".cell-choose input");
    box?.dispatchEvent(new MouseEvent("click", { shiftKey, bubbles: true, cancelable: true }));
  };
  const step = (by: number) => {
    const all = rows();
    const row = current();
    all[row ? Math.max(0, Math.min(all.length - 1, all.indexOf(row) + by)) : 0]?.focus();
  };
  useKeys({
    j: () => step(1),
    k: () => step(-1),
    x: () => choose(false),
    X: () => choose(true),
  });
}

function cellClass<T>(column: Column<T>): string {
  return [column.isNumber && "cell-number", column.from && `cell-${column.from}`, column.isElastic && "cell-elastic"]
    .filter(Boolean)
    .join(" ");
}

function Head<T>({ column, sort, onSort }: { column: Column<T>; sort: Sort | null; onSort: (sort: Sort) => void }) {
  const isSorted = sort?.key === column.key;
  const flip = () => onSort({ key: column.key, isDown: isSorted ? !sort.isDown : column.isNumber === true });
  return (
    <th
      scope="col"
      class={cellClass(column)}
      aria-sort={column.by ? (isSorted ? (sort.isDown ? "descending" : "ascending") : "none") : undefined}
    >
      {column.by ? (
        <button type="button" class="sort" onClick={flip}>
          {column.title}
          <Icon name={isSorted && !sort.isDown ? "up" : "down"} />
        </button>
      ) : (
        column.title || <span class="unseen">Actions</span>
      )}
    </th>
  );
}

interface RowProps<T> {
  row: T;
  place: number;
  height: number | undefined;
  columns: Column<T>[];
  open: ((row: T) => void) | undefined;
  extra: string;
  choice: { isOn: boolean; flip: (isRange: boolean) => void } | undefined;
}

function isControl(target: EventTarget | null): boolean {
  return !!(target as HTMLElement | null)?.closest("a, button, input, select, label, summary");
}

function Row<T>({ row, place, height, columns, open, extra, choice }: RowProps<T>) {
  const onKey = (event: KeyboardEvent) => {
    if (event.key === "Enter" && event.target === event.currentTarget) open?.(row);
  };
  const onClick = (event: MouseEvent) => {
    if (open && !isControl(event.target) && !String(getSelection())) open(row);
  };
  return (
    <tr
      tabIndex={-1}
      data-row={place}
      aria-rowindex={place + 2}
      style={height ? { height: `${height}px` } : undefined}
      class={`${open ? "row-open " : ""}${choice?.isOn ? "row-chosen " : ""}${extra}`}
      onKeyDown={onKey}
      onClick={onClick}
    >
      {choice && (
        <td class="cell-choose">
          <input
            type="checkbox"
            aria-label="Choose this row"
            checked={choice.isOn}
            onClick={(event) => choice.flip(event.shiftKey)}
          />
        </td>
      )}
      {columns.map((column) => (
        <td key={column.key} class={cellClass(column)}>
          {column.show(row)}
        </td>
      ))}
    </tr>
  );
}
