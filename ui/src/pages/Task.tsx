import { Page } from "../components/Page";

export function Task() {
  return <Page title="Task">Being built.</Page>;
}
