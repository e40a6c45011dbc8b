/** The next runs of a schedule, by the clocks of its zone and of the reader's. */
import type { Schedule } from "../../api";
import { Time } from "../../components/Time";
import { now } from "../../live";
import { inZone, isSameTime, localZone, zoneName } from "./zoned";

export function Next({ schedule }: { schedule: Schedule }) {
  const [first] = schedule.next;
  if (schedule.is_paused) return <span class="text-warn">paused</span>;
  if (first === undefined) return <span class="faint">no more runs</span>;
  const here = localZone();
  const isHere = schedule.next.every((at) => isSameTime(at, schedule.zone, here));
  return (
    <details class="next">
      <summary>
        {first <= now.value ? <span>due now</span> : <Time at={first} />}
        <span class="second">
          {inZone(first, schedule.zone)} {zoneName(first, schedule.zone)}
        </span>
      </summary>
      <table>
        <thead>
          <tr>
            <th scope="col">{schedule.zone || "UTC"}</th>
            {!isHere && <th scope="col">Here, {zoneName(first, here)}</th>}
          </tr>
        </thead>
        <tbody>
          {schedule.next.map((at) => (
            <tr key={at}>
              <td>{inZone(at, schedule.zone)}</td>
              {!isHere && <td>{inZone(at, here)}</td>}
            </tr>
          ))}
        </tbody>
      </table>
    </details>
  );
}
