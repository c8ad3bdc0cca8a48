/** Whether there is room for the fourth column. */
class Media {
  wide = $state(false);
  constructor() {
    const query = matchMedia('(min-width: 1720px)');
    this.wide = query.matches;
    query.addEventListener('change', (e) => (this.wide = e.matches));
  }
}
export const media = new Media();
