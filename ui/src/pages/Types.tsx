import { Page } from "../components/Page";

export function Types() {
  return <Page title="Types">Being built.</Page>;
}
