/** Which page answers which address. */
import { LocationProvider, Route, Router } from "preact-iso";
import { Empty } from "./components/Empty";
import { later } from "./components/Later";
import { Page } from "./components/Page";
import { Layout } from "./layout";
import { DeadLetter, DeadLetters } from "./pages/DeadLetters";
import { Overview } from "./pages/Overview";
import { Queue } from "./pages/Queue";
import { Queues } from "./pages/Queues";
import { Schedules } from "./pages/Schedules";
import { System } from "./pages/System";
import { Task } from "./pages/Task";
import { Tasks } from "./pages/Tasks";
import { Type } from "./pages/Type";
import { Types } from "./pages/Types";
import { Worker } from "./pages/Worker";
import { Workers } from "./pages/Workers";
import { Workflows } from "./pages/Workflows";
import { base } from "./place";

const Workflow = later("Workflow", async () => (await import("./pages/Workflow")).Workflow);

export function App() {
  return (
    <LocationProvider scope={base}>
      <Layout>
        <Router>
          <Route path={base} component={Overview} />
          <Route path={`${base}queues`} component={Queues} />
          <Route path={`${base}queues/:name`} component={Queue} />
          <Route path={`${base}tasks`} component={Tasks} />
          <Route path={`${base}tasks/:id`} component={Task} />
          <Route path={`${base}types`} component={Types} />
          <Route path={`${base}types/:task`} component={Type} />
          <Route path={`${base}workers`} component={Workers} />
          <Route path={`${base}workers/:name`} component={Worker} />
          <Route path={`${base}workflows`} component={Workflows} />
          <Route path={`${base}workflows/:id`} component={Workflow} />
          <Route path={`${base}dead-letters`} component={DeadLetters} />
          <Route path={`${base}dead-letters/:id`} component={DeadLetter} />
          <Route path={`${base}schedules`} component={Schedules} />
          <Route path={`${base}system`} component={System} />
          <Route default component={NotFound} />
        </Router>
      </Layout>
    </LocationProvider>
  );
}

function NotFound() {
  return (
    <Page title="No such page">
      <Empty title="There is no page at this address" icon="search">
        <a href={base}>Go to the overview</a>, or press <kbd>Ctrl</kbd> <kbd>K</kbd> to go to a queue, a worker or a
        task.
      </Empty>
    </Page>
  );
}
