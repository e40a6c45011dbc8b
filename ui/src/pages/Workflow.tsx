import { Page } from "../components/Page";

export function Workflow() {
  return <Page title="Workflow">Being built.</Page>;
}
