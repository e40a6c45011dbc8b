import { Page } from "../components/Page";

export function Tasks() {
  return <Page title="Tasks">Being built.</Page>;
}
