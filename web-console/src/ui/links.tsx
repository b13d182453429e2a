/** Mantine's buttons as the router's links. */

import { ActionIcon, type ActionIconProps, Button, type ButtonProps } from "@mantine/core";
import { createLink } from "@tanstack/react-router";
import type { AnchorHTMLAttributes, Ref } from "react";

type Anchor = Omit<AnchorHTMLAttributes<HTMLAnchorElement>, "style" | "color"> & { ref?: Ref<HTMLAnchorElement> };

export const IconLink = createLink((props: ActionIconProps & Anchor) => <ActionIcon component="a" {...props} />);
export const ButtonLink = createLink((props: ButtonProps & Anchor) => <Button component="a" {...props} />);
