export { DurationHistogram } from './duration-histogram.js';
export { EventLoopDelay } from './event-loop-delay.js';
export {
  joinFamilies,
  METRICS_CONTENT_TYPE,
  type MetricFamily,
  type MetricSample,
  renderFamilies,
  valuesFamily,
} from './metric-family.js';
