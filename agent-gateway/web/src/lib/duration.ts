/** Lengths of time in milliseconds, as people read them: `0:07`, `12:30`, `1:02:03`. An unknown one is a dash. */
export function duration(ms: number | null | undefined): string {
  if (ms === null || ms === undefined || !Number.isFinite(ms)) return '—';
  const total = Math.max(0, Math.floor(ms / 1000));
  const s = String(total % 60).padStart(2, '0');
  const m = Math.floor(total / 60) % 60;
  const h = Math.floor(total / 3600);
  return h > 0 ? `${h}:${String(m).padStart(2, '0')}:${s}` : `${m}:${s}`;
}

/** A number as it is read aloud: `138 0013 8000`, `+1 415 555 0100`; what is no number stays as it came. */
export function phone(number: string): string {
  const cn = /^(?:\+86)?(1[3-9]\d)(\d{4})(\d{4})$/.exec(number);
  if (cn) return `${cn[1]} ${cn[2]} ${cn[3]}`;
  const service = /^(?:\+86)?([48]00)(\d{3})(\d{4})$/.exec(number);
  if (service) return `${service[1]} ${service[2]} ${service[3]}`;
  const us = /^\+1(\d{3})(\d{3})(\d{4})$/.exec(number);
  if (us) return `+1 ${us[1]} ${us[2]} ${us[3]}`;
  return number;
}
