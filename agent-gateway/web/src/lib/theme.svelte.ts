export type ThemeChoice = 'auto' | 'light' | 'dark';
const STORED = 'zongji.theme';

class Theme {
  choice = $state<ThemeChoice>('auto');
  start(): void {
    try {
      const value = localStorage.getItem(STORED);
      if (value === 'light' || value === 'dark') this.set(value);
    } catch {
      // Nothing kept: the system's choice.
    }
  }
  set(choice: ThemeChoice): void {
    this.choice = choice;
    if (choice === 'auto') delete document.documentElement.dataset['theme'];
    else document.documentElement.dataset['theme'] = choice;
    try {
      if (choice === 'auto') localStorage.removeItem(STORED);
      else localStorage.setItem(STORED, choice);
    } catch {
      // Kept for this page only.
    }
  }
  next(): void {
    this.set(this.choice === 'auto' ? 'light' : this.choice === 'light' ? 'dark' : 'auto');
  }
}
export const theme = new Theme();
