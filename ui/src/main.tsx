import "uplot/dist/uPlot.min.css";
import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/layout.css";
import "./styles/components.css";
import "./styles/pages.css";
import { render } from "preact";
import { App } from "./app";
import { startKeys } from "./keys";
import { startLive } from "./live";
import { startSession } from "./session";
import { startSettings } from "./settings";

startSettings();
startKeys();
startLive();
void startSession();
render(<App />, document.getElementById("page") as HTMLElement);
