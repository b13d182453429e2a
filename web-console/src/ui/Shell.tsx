/** What stands around every page: where one is, where one can go, how fresh it is. */

import {
  ActionIcon,
  Button,
  Kbd,
  type MantineColorScheme,
  Menu,
  Tooltip,
  UnstyledButton,
  useMantineColorScheme,
} from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link, Outlet, useLocation, useNavigate, useParams } from "@tanstack/react-router";
import { lazy, type ReactNode, Suspense, useEffect, useRef, useState } from "react";
import { clusterQuery, useRefreshNow } from "../api/queries";
import { useWords } from "../i18n/i18n";
import { ofOldHash } from "../paths";
import { languages, refreshSeconds, setPrefs, usePrefs } from "../prefs";
import { Icon, type IconName, Logo } from "./icons";
import { useKey, useKeyboard } from "./keys";
import { Loading } from "./states";
import "./Shell.css";

const SearchBox = lazy(() => import("./SearchBox").then((module) => ({ default: module.SearchBox })));
const KeyHelp = lazy(() => import("./KeyHelp").then((module) => ({ default: module.KeyHelp })));

const pages = [
  { to: "/", icon: "overview", key: "o" },
  { to: "/topics", icon: "topics", key: "t" },
  { to: "/groups", icon: "groups", key: "g" },
] as const;

export function Shell() {
  const { t } = useWords();
  const { sidebarCollapsed } = usePrefs();
  const { pathname, hash } = useLocation();
  const navigate = useNavigate();
  const main = useRef<HTMLElement>(null);
  const [menuOpen, setMenuOpen] = useState(false);
  const [searchOpen, setSearchOpen] = useState(false);
  const [helpOpen, setHelpOpen] = useState(false);
  const { refresh } = useRefreshNow();

  useKeyboard();
  useKey("mod+k", () => setSearchOpen(true));
  useKey("/", () => setSearchOpen(true));
  useKey("?", () => setHelpOpen(true));
  useKey("r", refresh);
  useKey("g o", () => navigate({ to: "/" }));
  useKey("g t", () => navigate({ to: "/topics" }));
  useKey("g g", () => navigate({ to: "/groups" }));
  useKey("g s", () => navigate({ to: "/settings" }));

  // Bookmarks of the Java dashboard.
  useEffect(() => {
    const to = ofOldHash(`#${hash}`);
    if (to !== undefined) navigate({ to, replace: true });
  }, [hash, navigate]);

  // biome-ignore lint/correctness/useExhaustiveDependencies: another page closes the menu
  useEffect(() => setMenuOpen(false), [pathname]);

  return (
    <div className="shell" data-collapsed={sidebarCollapsed || undefined} data-menu={menuOpen || undefined}>
      {/* biome-ignore lint/a11y/useValidAnchor: a link to a place on the page, kept from becoming an address */}
      <a
        href="#main"
        className="skip"
        onClick={(event) => {
          // The base element would make a page address out of the fragment.
          event.preventDefault();
          main.current?.focus();
        }}
      >
        {t.shell.skip}
      </a>
      <aside className="side" aria-label={t.shell.navigation}>
        <Brand />
        <nav aria-label={t.shell.navigation}>
          <ul>
            {pages.map((page) => (
              <NavItem key={page.to} to={page.to} icon={page.icon} label={t.nav[page.to]} keys={`g ${page.key}`} />
            ))}
          </ul>
          <ul className="side-foot">
            <NavItem to="/settings" icon="settings" label={t.nav["/settings"]} keys="g s" />
          </ul>
        </nav>
        <UnstyledButton
          className="side-collapse"
          onClick={() => setPrefs({ sidebarCollapsed: !sidebarCollapsed })}
          aria-expanded={!sidebarCollapsed}
        >
          <Icon name="sidebar" />
          <span className="nav-label">{t.shell.collapse}</span>
        </UnstyledButton>
      </aside>
      {menuOpen && <UnstyledButton className="veil" aria-label={t.action.close} onClick={() => setMenuOpen(false)} />}
      <div className="stage">
        <header className="bar">
          <ActionIcon
            className="burger"
            aria-label={t.shell.navigation}
            aria-expanded={menuOpen}
            onClick={() => setMenuOpen(!menuOpen)}
          >
            <Icon name="menu" />
          </ActionIcon>
          <Breadcrumb />
          <div className="bar-end">
            <UnstyledButton className="search-button" onClick={() => setSearchOpen(true)}>
              <Icon name="search" size={15} />
              <span className="search-hint">{t.search.open}</span>
              <Kbd size="xs" aria-hidden="true">
                Ctrl K
              </Kbd>
            </UnstyledButton>
            <RefreshControl />
            <LanguageMenu />
            <ThemeMenu />
          </div>
        </header>
        <main id="main" ref={main} tabIndex={-1}>
          <Suspense fallback={<Loading />}>
            <Outlet />
          </Suspense>
        </main>
      </div>
      <Suspense>
        {searchOpen && <SearchBox onClose={() => setSearchOpen(false)} />}
        {helpOpen && <KeyHelp onClose={() => setHelpOpen(false)} />}
      </Suspense>
    </div>
  );
}

/** The cluster's name with the operator's colour: production must not look like test. */
function Brand() {
  const { t } = useWords();
  const { clusterColour } = usePrefs();
  const cluster = useQuery(clusterQuery()).data?.clusters[0]?.name;
  return (
    <div className="brand">
      <Link to="/" className="brand-logo" aria-label={t.shell.home}>
        <Logo />
      </Link>
      <div className="brand-names nav-label">
        <span className="brand-name">Gantry</span>
        <span className="brand-cluster" title={cluster}>
          {clusterColour !== "none" && <span className="brand-dot" data-colour={clusterColour} />}
          {cluster ?? " "}
        </span>
      </div>
    </div>
  );
}

function NavItem({
  to,
  icon,
  label,
  keys,
}: {
  to: "/" | "/topics" | "/groups" | "/settings";
  icon: IconName;
  label: string;
  keys: string;
}) {
  const { sidebarCollapsed } = usePrefs();
  return (
    <li>
      <Tooltip label={label} position="right" disabled={!sidebarCollapsed}>
        <Link
          to={to}
          activeOptions={{ exact: to === "/", includeSearch: false }}
          className="nav-link"
          aria-label={label}
          aria-keyshortcuts={keys}
        >
          <Icon name={icon} />
          <span className="nav-label">{label}</span>
        </Link>
      </Tooltip>
    </li>
  );
}

function Breadcrumb() {
  const { t } = useWords();
  const { pathname } = useLocation();
  const { topic, group, id } = useParams({ strict: false });
  const trail: { key: string; item: ReactNode }[] = [];
  if (topic !== undefined || pathname.endsWith("/topics/new")) {
    trail.push({ key: "topics", item: <Link to="/topics">{t.nav["/topics"]}</Link> });
  }
  if (group !== undefined || pathname.endsWith("/groups/new")) {
    trail.push({ key: "groups", item: <Link to="/groups">{t.nav["/groups"]}</Link> });
  }
  if (topic !== undefined && id !== undefined) {
    trail.push({
      key: "topic",
      item: (
        <Link to="/topics/$topic" params={{ topic }}>
          {topic}
        </Link>
      ),
    });
  }
  const section = pages.find(({ to }) => to !== "/" && pathname.endsWith(to))?.to;
  const here =
    id ??
    topic ??
    group ??
    (pathname.endsWith("/new") ? t.action.create : undefined) ??
    (section && t.nav[section]) ??
    (pathname.endsWith("/settings") ? t.nav["/settings"] : undefined) ??
    t.nav["/"];
  return (
    <nav className="breadcrumb" aria-label={t.shell.breadcrumb}>
      <ol>
        {trail.map(({ key, item }) => (
          <li key={key}>
            {item}
            <span aria-hidden="true" className="slash">
              /
            </span>
          </li>
        ))}
        <li aria-current="page">{here}</li>
      </ol>
    </nav>
  );
}

function RefreshControl() {
  const { t } = useWords();
  const { refresh } = usePrefs();
  const { busy, refresh: now } = useRefreshNow();
  return (
    <div className="refresh">
      <Tooltip label={t.refresh.now}>
        <ActionIcon aria-label={t.refresh.now} onClick={() => now()} data-busy={busy || undefined}>
          <Icon name="refresh" size={15} />
        </ActionIcon>
      </Tooltip>
      <Menu>
        <Menu.Target>
          <Button
            variant="subtle"
            color="gray"
            size="compact-sm"
            aria-label={`${t.refresh.pace}: ${t.refresh.every(refresh)}`}
          >
            {t.refresh.every(refresh)}
          </Button>
        </Menu.Target>
        <Menu.Dropdown>
          <Menu.Label>{t.refresh.pace}</Menu.Label>
          {refreshSeconds.map((seconds) => (
            <Choice
              key={seconds}
              value={String(seconds)}
              on={seconds === refresh}
              onChoose={() => setPrefs({ refresh: seconds })}
            >
              {t.refresh.long(seconds)}
            </Choice>
          ))}
        </Menu.Dropdown>
      </Menu>
    </div>
  );
}

function Choice({
  value,
  on,
  onChoose,
  children,
}: {
  value: string;
  on: boolean;
  onChoose: () => void;
  children: ReactNode;
}) {
  return (
    <Menu.RadioItem
      value={value}
      checked={on}
      onChange={onChoose}
      closeMenuOnClick
      checkIcon={<Icon name="check" size={14} />}
    >
      {children}
    </Menu.RadioItem>
  );
}

function LanguageMenu() {
  const { t } = useWords();
  const { language } = usePrefs();
  return (
    <Menu>
      <Menu.Target>
        <ActionIcon aria-label={t.settings.language} className="wide-control">
          <Icon name="language" />
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        {languages.map((one) => (
          <Choice key={one} value={one} on={one === language} onChoose={() => setPrefs({ language: one })}>
            <span lang={one}>{languageNames[one]}</span>
          </Choice>
        ))}
      </Menu.Dropdown>
    </Menu>
  );
}

export const languageNames = { en: "English", zh: "中文" };
export const schemes: readonly MantineColorScheme[] = ["auto", "light", "dark"];
export const schemeIcons: Record<MantineColorScheme, IconName> = { auto: "auto", light: "sun", dark: "moon" };

function ThemeMenu() {
  const { t } = useWords();
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  return (
    <Menu>
      <Menu.Target>
        <ActionIcon aria-label={t.settings.theme} className="wide-control">
          <Icon name={schemeIcons[colorScheme]} />
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        {schemes.map((scheme) => (
          <Choice key={scheme} value={scheme} on={scheme === colorScheme} onChoose={() => setColorScheme(scheme)}>
            {t.settings.themes[scheme]}
          </Choice>
        ))}
      </Menu.Dropdown>
    </Menu>
  );
}
