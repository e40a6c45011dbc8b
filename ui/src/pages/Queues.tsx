import { Page } from "../components/Page";

export function Queues() {
  return <Page title="Queues">Being built.</Page>;
}
