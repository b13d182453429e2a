/** Every page and its address. Pages are loaded when they are first opened. */

import {
  createRootRoute,
  createRoute,
  createRouter,
  lazyRouteComponent,
  type RouterHistory,
} from "@tanstack/react-router";
import { NotFoundPage } from "./pages/NotFound";
import { basePath } from "./paths";
import {
  groupSearch,
  groupsSearch,
  messageSearch,
  overviewSearch,
  parseSearch,
  stringifySearch,
  topicSearch,
  topicsSearch,
} from "./search";
import { PageFailure } from "./ui/PageFailure";
import { Shell } from "./ui/Shell";

const root = createRootRoute({ component: Shell, notFoundComponent: NotFoundPage });

const overview = createRoute({
  getParentRoute: () => root,
  path: "/",
  validateSearch: overviewSearch,
  component: lazyRouteComponent(() => import("./pages/Overview"), "OverviewPage"),
});

const topics = createRoute({
  getParentRoute: () => root,
  path: "/topics",
  validateSearch: topicsSearch,
  component: lazyRouteComponent(() => import("./pages/Topics"), "TopicsPage"),
});
const newTopic = createRoute({
  getParentRoute: () => topics,
  path: "new",
  component: lazyRouteComponent(() => import("./forms/CreateTopic"), "CreateTopic"),
});

const topic = createRoute({
  getParentRoute: () => root,
  path: "/topics/$topic",
  validateSearch: topicSearch,
  component: lazyRouteComponent(() => import("./pages/Topic"), "TopicPage"),
});
const send = createRoute({
  getParentRoute: () => topic,
  path: "send",
  component: lazyRouteComponent(() => import("./forms/SendMessage"), "SendMessage"),
});

const message = createRoute({
  getParentRoute: () => root,
  path: "/topics/$topic/messages/$id",
  validateSearch: messageSearch,
  component: lazyRouteComponent(() => import("./pages/Message"), "MessagePage"),
});

const groups = createRoute({
  getParentRoute: () => root,
  path: "/groups",
  validateSearch: groupsSearch,
  component: lazyRouteComponent(() => import("./pages/Groups"), "GroupsPage"),
});
const newGroup = createRoute({
  getParentRoute: () => groups,
  path: "new",
  component: lazyRouteComponent(() => import("./forms/CreateGroup"), "CreateGroup"),
});

const group = createRoute({
  getParentRoute: () => root,
  path: "/groups/$group",
  validateSearch: groupSearch,
  component: lazyRouteComponent(() => import("./pages/Group"), "GroupPage"),
});

const settings = createRoute({
  getParentRoute: () => root,
  path: "/settings",
  component: lazyRouteComponent(() => import("./pages/Settings"), "SettingsPage"),
});

const routeTree = root.addChildren([
  overview,
  topics.addChildren([newTopic]),
  topic.addChildren([send]),
  message,
  groups.addChildren([newGroup]),
  group,
  settings,
]);

export function makeRouter(history?: RouterHistory) {
  return createRouter({
    routeTree,
    history,
    basepath: basePath() || "/",
    parseSearch,
    stringifySearch,
    defaultPreload: "intent",
    defaultErrorComponent: PageFailure,
    scrollRestoration: true,
  });
}

declare module "@tanstack/react-router" {
  interface Register {
    router: ReturnType<typeof makeRouter>;
  }
}
