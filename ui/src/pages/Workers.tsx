import { Page } from "../components/Page";

export function Workers() {
  return <Page title="Workers">Being built.</Page>;
}
