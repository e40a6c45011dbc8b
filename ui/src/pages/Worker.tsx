import { Page } from "../components/Page";

export function Worker() {
  return <Page title="Worker">Being built.</Page>;
}
