/** The frames this page sends, from the generated ones. */
import type { Ack, Command, GatewayCommand } from '../generated';

export type AnyCommand = Command | GatewayCommand;
export type ClientCommand = AnyCommand & { id: string; expect_ver?: number };
export type AckLike = Ack;
