/** Shows a page whose code is fetched when it is first shown: what few look at is no weight for all others. */
import type { ComponentType } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Failure, Loading } from "./Empty";
import { Page } from "./Page";

/** A component that stands for the one that `fetch` resolves to; `title` is shown meanwhile. */
export function later(title: string, fetch: () => Promise<ComponentType>): ComponentType {
  let Fetched: ComponentType | null = null;
  return function Later() {
    const [error, setError] = useState<Error | null>(null);
    const [, setFetched] = useState(Fetched !== null);
    useEffect(() => {
      if (Fetched) return;
      fetch().then(
        (component) => {
          Fetched = component;
          setFetched(true);
        },
        () => setError(new Error("This part of the page could not be fetched; the server may be a newer one by now.")),
      );
    }, []);
    if (Fetched) return <Fetched />;
    // Browsers remember that a module could not be fetched; and the names in a newer page are others.
    return (
      <Page title={title}>
        {error ? <Failure error={error} reload={() => location.reload()} /> : <Loading lines={10} />}
      </Page>
    );
  };
}
