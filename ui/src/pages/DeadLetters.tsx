import { Page } from "../components/Page";

export function DeadLetters() {
  return <Page title="Dead letters">Being built.</Page>;
}

export function DeadLetter() {
  return <Page title="Dead letter">Being built.</Page>;
}
