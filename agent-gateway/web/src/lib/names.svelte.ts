/** The names that people gave queues and agents; until they are known, and where there is none, the short one. */
import { get } from './api';
import type { Page } from './records';

interface Named {
  name: string;
  display?: string | null;
}

class Names {
  #queues = $state.raw<ReadonlyMap<string, string>>(new Map());
  #agents = $state.raw<ReadonlyMap<string, string>>(new Map());

  async load(): Promise<void> {
    const read = async (path: string): Promise<ReadonlyMap<string, string>> => {
      const { items } = await get<Page<Named>>(path);
      return new Map(items.map((x) => [x.name, x.display || x.name]));
    };
    [this.#queues, this.#agents] = await Promise.all([read('queues').catch(() => this.#queues), read('agents').catch(() => this.#agents)]);
  }
  queue(name: string): string {
    return this.#queues.get(name) ?? name;
  }
  agent(name: string): string {
    return this.#agents.get(name) ?? name;
  }
  /** Everyone and everything that can be searched for, by short name. */
  get queues(): Array<[string, string]> {
    return [...this.#queues].sort();
  }
  get agents(): Array<[string, string]> {
    return [...this.#agents].sort();
  }
}
export const names = new Names();
