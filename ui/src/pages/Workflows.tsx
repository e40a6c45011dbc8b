import { Page } from "../components/Page";

export function Workflows() {
  return <Page title="Workflows">Being built.</Page>;
}
