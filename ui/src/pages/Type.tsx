import { Page } from "../components/Page";

export function Type() {
  return <Page title="Type">Being built.</Page>;
}
